"""Clients that are slow, idle or rude hold none of the threads that answer the others."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import httpx
import pytest
from served import Served
from support.waiting import PATIENCE

SLOW = 16  # twice the server's threads
QUERY = json.dumps({"text": "red"}).encode()
HEAD = b"POST / HTTP/1.1\r\nHost: query\r\n"
LIVE = b"GET /live HTTP/1.1\r\nHost: query\r\n"
IMAGE, LONG = b"Content-Type: image/png\r\n", b"Content-Length: 1000000\r\n\r\n"
BEGINNINGS = {
    "says nothing": b"",
    "sends a head without an end": HEAD,
    "sends a short body without an end": HEAD + b"Content-Length: 9\r\n\r\n{",
    "sends a long body without an end": HEAD + IMAGE + LONG + b"a" * 70_000,
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
    assert httpx.get(f"{served.url}/live", timeout=PATIENCE).status_code == 200
    assert httpx.post(served.url, content=QUERY, timeout=PATIENCE).status_code == 200


def test_others_are_answered_beside_hundreds_of_idle_connections(served: Served, open_: ExitStack):
    for _ in range(300):
        connect(served, open_)
    assert httpx.get(f"{served.url}/live", timeout=PATIENCE).status_code == 200


def test_a_refusal_is_read_by_whoever_still_sends(served: Served):
    headers = {"Content-Type": "image/png"}
    answer = httpx.post(served.url, content=bytes(80_000_000), headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["type"]) == (413, "payload-too-large")


def test_a_head_without_an_end_is_refused(served: Served, open_: ExitStack):
    client = connect(served, open_)
    client.sendall(HEAD + b"a: " + b"b" * 200_000)
    assert client.recv(100).startswith(b"HTTP/1.1 431 ")


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
