"""Bytes of a stranger that are no HTTP are refused in our own words, and stand in no log."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from served import Served
from support import http_servers
from support.http_servers import free_port

SECRET = b"eyJ-secret"
UNREADABLE = {
    "no version": (400, b"GET /preview?token=" + SECRET),
    "a method that is none": (400, SECRET + b"@ / HTTP/1.1"),
    "a version that is none": (400, b"GET / HTTP/" + SECRET),
    "an address that is none": (400, b"GET http://[" + SECRET + b" HTTP/1.1"),
    "bytes beyond ASCII": (400, b"GET /\xff" + SECRET + b" HTTP/1.1"),
    "control characters": (400, b"GET \x1b[2J\x00" + SECRET),
    "a line of 100,000 characters": (400, b"GET " + SECRET * 10_000),
    "a header without a colon": (400, b"GET / HTTP/1.1\r\nAuthorization Bearer " + SECRET),
    "a header's name with a space": (400, b"GET / HTTP/1.1\r\n" + SECRET + b" a: b"),
    "a folded header": (400, b"GET / HTTP/1.1\r\na: b\r\n " + SECRET),
    "two lengths": (400, b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2"),
    "a length beside chunks": (400, b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"),
    "an unknown expectation": (417, b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: " + SECRET),
    "an unknown coding": (501, b"POST / HTTP/1.1\r\nTransfer-Encoding: " + SECRET),
    "too many headers": (431, b"GET / HTTP/1.1" + b"".join(b"\r\nx%d: y" % n for n in range(101))),
}


@dataclass(frozen=True)
class Logged:
    port: int
    log: Path


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    """A server that logs all that it has to say."""
    log = tmp_path_factory.mktemp("log") / "stderr"
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("query_process.py")), str(port)]
    environment = {"PATH": "/usr/bin:/bin", "THREADS": "8", "GUNICORN_LOG_LEVEL": "debug"}
    url = f"http://127.0.0.1:{port}/live"
    with log.open("wb") as stderr, http_servers.process(command, environment, url, stderr):
        yield Logged(port, log)


def answer_to(port: int, head: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head + b"\r\n\r\nx")
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(("status", "head"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_request_is_refused_and_nothing_of_it_told_or_logged(
    talkative: Logged, status: int, head: bytes
):
    before = talkative.log.stat().st_size
    answer, body = answer_to(talkative.port, head).split(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: application/problem+json" in answer
    assert b"Access-Control-Allow-Origin: *" in answer, "pages elsewhere are told"
    assert (json.loads(body)["type"], json.loads(body)["status"]) == ("request-error", status)
    logged = talkative.log.read_bytes()[before:]
    assert SECRET not in body + logged and b"\x1b" not in logged
    assert len(logged) < 1000


CHUNKED = b"POST / HTTP/1.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN_OFF = {
    "in a chunk": CHUNKED + b"5\r\nhe",
    "in a chunk's size": CHUNKED + b"5",
    "before the last chunk": CHUNKED + b"5\r\nhello\r\n",
    "in a body of a stated length": b"POST / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n".ljust(69_000),
}


@pytest.mark.parametrize("beginning", BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_a_request_is_the_callers_fault_and_no_error_of_ours_that_breaks_off(
    talkative: Logged, beginning: bytes
):
    before = talkative.log.stat().st_size
    with socket.create_connection(("127.0.0.1", talkative.port), timeout=60) as connection:
        connection.sendall(beginning)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert answer.startswith(
        (b"HTTP/1.1 400 ", b"HTTP/1.1 499 ")
    )  # 499 where that is known before it is read
    assert b"ERROR" not in talkative.log.read_bytes()[before:]


def test_the_server_takes_no_orders_through_a_socket_in_somebodys_home(served: Served):
    for process in (served.worker, served.worker.parent()):
        named = [each.laddr for each in process.net_connections("unix") if each.laddr]
        assert named == []
