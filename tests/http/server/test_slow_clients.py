"""Clients that are slow, idle or rude hold none of the threads that answer the others."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import httpx
import psutil
import pytest
from served import Served
from support import http_servers
from support.http_servers import free_port
from support.waiting import eventually

HELD = 5.0  # seconds: a thread would be held for longer
WITHIN = 12.0  # seconds: a client that holds a thread holds it for 15
SLOW = 100  # more than the server has threads: eight, and those for callers and previews
QUERY = json.dumps({"text": "red"}).encode()
HEAD = b"POST / HTTP/1.1\r\nHost: query\r\n"
LIVE = b"GET /live HTTP/1.1\r\nHost: query\r\n"
IMAGE, LONG = b"Content-Type: image/png\r\n", b"Content-Length: 1000000\r\n\r\n"
BEGINNINGS = {
    "says nothing": b"",
    "sends a head without an end": HEAD,
    "sends a short body without an end": HEAD + b"Content-Length: 9\r\n\r\n{",
    "sends a long body without an end": HEAD + IMAGE + LONG + b"a" * 70_000,
    "waits to be asked for a short body": HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    "announces a short body in many digits": HEAD + b"Content-Length: %024d\r\n\r\n" % 9,
    "announces chunks": HEAD + IMAGE + b"Transfer-Encoding: chunked\r\n\r\n",
    "leaves the body of a refusal unsent": b"GET /metrics HTTP/1.1\r\n" + LONG,
    "leaves the body of an answer unsent": LIVE + LONG,
}


@pytest.fixture
def open_() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(served: Served, open_: ExitStack) -> socket.socket:
    return open_.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=60))


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_others_are_answered_beside_clients_of_whom_each(served: Served, open_: ExitStack, beginning: bytes):
    for _ in range(SLOW):
        connect(served, open_).sendall(beginning)
    assert httpx.get(f"{served.url}/live", timeout=WITHIN).status_code == 200
    assert httpx.post(served.url, content=QUERY, timeout=WITHIN).status_code == 200


DRIPPING = {
    "the size of a chunk": b"1;a=",
    "the bytes of a chunk": b"ffff\r\n",
    "trailers": b"1\r\na\r\n0\r\na: ",
}


@pytest.mark.parametrize("chunk", DRIPPING.values(), ids=DRIPPING)
def test_no_thread_reads_a_body_that_nobody_asked_for_and_that_drips(
    served: Served, open_: ExitStack, chunk: bytes
):
    client = connect(served, open_)
    client.sendall(LIVE + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    client.settimeout(0.005)
    deadline = time.monotonic() + HELD
    while has_open(client):
        assert time.monotonic() < deadline
        client.sendall(b"a")


def has_open(client: socket.socket) -> bool:
    """Whether the server may still send it something."""
    try:
        return bool(client.recv(1000))
    except TimeoutError:
        return True


LONG_ANSWER = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: query\r\n"
AT_ONCE = 4  # of these are more than the system keeps for a client that takes none


def test_others_are_answered_beside_clients_that_take_no_answer(served: Served, open_: ExitStack):
    for _ in range(SLOW):
        client = open_.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", served.port))
        client.sendall((LONG_ANSWER + b"\r\n") * AT_ONCE)
    assert httpx.get(f"{served.url}/live", timeout=WITHIN).status_code == 200


def test_long_answers_that_are_taken_late_are_whole(served: Served, open_: ExitStack):
    client = connect(served, open_)
    client.sendall((LONG_ANSWER + b"\r\n") * AT_ONCE + LONG_ANSWER + b"Connection: close\r\n\r\n")
    httpx.get(f"{served.url}/live", timeout=WITHIN)
    body = httpx.get(f"{served.url}/docs/swagger-ui-bundle.js", timeout=60).content
    assert client.makefile("rb").read().count(body) == AT_ONCE + 1


TAKEN = 199  # connections of a server that may have 400 files: one more makes room


@pytest.fixture
def few_files() -> Iterator[Served]:
    """A server that may have 400 open files."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = f"ulimit -n 400 && exec {sys.executable} {Path(__file__).with_name('query_process.py')} {port}"
    environment = {"PATH": "/usr/bin:/bin", "THREADS": "8"}
    with http_servers.process(["sh", "-c", program], environment, f"{url}/live") as running:
        [worker] = psutil.Process(running.pid).children()
        yield Served(url, port, worker)


ANSWERED = {
    "have asked nothing": b"",
    "have their answer and stay": LIVE + b"\r\n",
    "have their last answer and stay": LIVE + b"Connection: close\r\n\r\n",
}


@pytest.mark.parametrize("request_", ANSWERED.values(), ids=ANSWERED)
def test_others_are_answered_beside_more_clients_than_are_taken_who(
    few_files: Served, open_: ExitStack, request_: bytes
):
    for _ in range(500):
        client = connect(few_files, open_)
        client.sendall(request_)
        assert not request_ or client.recv(100)
    assert httpx.get(f"{few_files.url}/live", timeout=WITHIN).status_code == 200


def test_a_client_that_sends_while_another_takes_its_place_ends_no_others(
    few_files: Served, open_: ExitStack
):
    clients = [connect(few_files, open_) for _ in range(TAKEN + 20)]
    eventually(lambda: few_files.connections() == TAKEN)
    few_files.worker.suspend()  # so that all that follows is one batch, which begins with the new client
    eventually(lambda: few_files.worker.status() == psutil.STATUS_STOPPED)
    new = connect(few_files, open_)
    for client in clients:
        with suppress(ConnectionError):  # it has lost its place before
            client.sendall(b"G")
    few_files.worker.resume()
    new.sendall(LIVE + b"\r\n")
    assert new.recv(100).startswith(b"HTTP/1.1 200 ")


def test_others_are_answered_beside_hundreds_of_idle_connections(served: Served, open_: ExitStack):
    for _ in range(300):
        connect(served, open_)
    assert httpx.get(f"{served.url}/live", timeout=WITHIN).status_code == 200


def test_a_refusal_is_read_by_whoever_still_sends(served: Served):
    headers = {"Content-Type": "image/png"}
    answer = httpx.post(served.url, content=bytes(80_000_000), headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["type"]) == (413, "payload-too-large")


def test_a_head_without_an_end_is_refused(served: Served, open_: ExitStack):
    client = connect(served, open_)
    client.sendall(HEAD + b"a: " + b"b" * 200_000)
    head, body = client.makefile("rb").read().split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ") and b"Access-Control-Allow-Origin: *" in head
    assert json.loads(body)["type"] == "request-error"


CHUNKED = HEAD + IMAGE + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN_CHUNKS = {
    "a size that is no number": b"zz\r\nhe",
    "a chunk longer than its size": b"5\r\nhelloXX\r\n",
    "an extension without an end": b"1;" + b"a" * 100_000,
    "thousands of trailers": b"1\r\na\r\n0\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
}


@pytest.mark.parametrize("chunks", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
def test_chunks_that_cant_be_read_are_the_callers_fault(served: Served, open_: ExitStack, chunks: bytes):
    client = connect(served, open_)
    client.sendall(CHUNKED + chunks)
    answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ") and b'"type": "request-error"' in answer


@pytest.mark.parametrize("chunks", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
def test_a_request_is_answered_once_whose_chunks_nobody_reads(
    served: Served, open_: ExitStack, chunks: bytes
):
    client = connect(served, open_)
    client.sendall(LIVE + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b'{"status": "ok"}')


def test_a_body_that_comes_in_pieces_is_whole(served: Served, open_: ExitStack):
    client = connect(served, open_)
    whole = HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(QUERY) + QUERY
    for place in range(len(whole)):
        client.sendall(whole[place : place + 1])
    assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 ")


def test_one_connection_serves_request_after_request(served: Served):
    with closing(HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection:
        for body in (QUERY, QUERY.ljust(100_000), QUERY):
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)


def test_requests_that_come_together_are_all_answered(served: Served, open_: ExitStack):
    client = connect(served, open_)
    client.sendall((LIVE + b"\r\n") * 2 + LIVE + b"Connection: close\r\n\r\n")
    assert client.makefile("rb").read().count(b'{"status": "ok"}') == 3


def test_a_client_that_asks_first_is_told_to_send(served: Served, open_: ExitStack):
    client = connect(served, open_)
    client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(QUERY))
    assert client.recv(100).startswith(b"HTTP/1.1 100 ")
    client.sendall(QUERY)
    assert client.recv(100).startswith(b"HTTP/1.1 200 ")
