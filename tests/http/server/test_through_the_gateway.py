"""The function's early refusals arrive through the gateway too, and it learns of clients who hang up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from served import Served
from starlette.applications import Starlette
from support import http_servers
from support.waiting import PATIENCE

from local.gateway import functions


@contextmanager
def gateway_to(function: str) -> Iterator[str]:
    routes = functions.routes("/functions/v1", {"query": function}, functions.make_transport())
    with http_servers.asgi(Starlette(routes=routes)) as url:
        yield f"{url}/functions/v1/query"


@pytest.fixture
def gateway(served: Served) -> Iterator[str]:
    with gateway_to(served.url) as url:
        yield url


@pytest.mark.parametrize("size", [71_000_000, 80_000_000])
def test_a_body_beyond_the_limit_is_too_large(gateway: str, size: int):
    answer = httpx.post(gateway, content=bytes(size), headers={"Content-Type": "image/jpeg"}, timeout=60)
    assert (answer.status_code, answer.json()["type"]) == (413, "payload-too-large")


def test_a_method_that_isnt_taken_comes_with_those_that_are(gateway: str):
    answer = httpx.delete(gateway)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, HEAD, OPTIONS")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /functions/v1/query HTTP/1.1\r\nHost: localhost\r\nX: end\r\n\r\n",
        b"POST /functions/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nend",
        b"POST /functions/v1/query HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nend\r\n0\r\n\r\n",
    ],
    ids=["no body", "a body", "a body in chunks"],
)
def test_the_function_learns_that_a_client_has_hung_up(request_: bytes):
    with (
        socket.create_server(("127.0.0.1", 0)) as function,
        gateway_to(f"http://127.0.0.1:{function.getsockname()[1]}") as url,
    ):
        client = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0))
        client.sendall(request_)
        connection, _ = function.accept()
        connection.settimeout(PATIENCE)
        with connection:
            arrived = b""
            while b"end" not in arrived:
                arrived += connection.recv(1000)
            client.close()
            while connection.recv(1000):
                pass
