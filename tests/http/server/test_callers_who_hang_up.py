"""Work ends when its caller hangs up: others get the places, directly and through the embedded gateway."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from query_process import SLOW_SECONDS
from served import Served
from starlette.applications import Starlette
from support import http_servers
from support.waiting import eventually

from functions.query.main import RUNNING, WAITING
from local.gateway import functions

TEXTS = 32
WITHIN = 20.0  # seconds: a third of the time that all of these texts take


@pytest.fixture(params=["directly", "through the gateway"])
def url(request: pytest.FixtureRequest, served: Served) -> Iterator[str]:
    if request.param == "directly":
        yield f"{served.url}/query"
        return
    routes = functions.routes("/functions/v1", {"query": served.url}, functions.make_transport())
    with http_servers.asgi(Starlette(routes=routes)) as gateway:
        yield f"{gateway}/functions/v1/query/query"


def hang_up(url: str, number: int) -> None:
    """Asks for many texts, and doesn't wait for the answer."""
    address = httpx.URL(url)
    body = json.dumps({"text": [f"slow {number} {index} {address.port}" for index in range(TEXTS)]}).encode()
    head = f"POST {address.path} HTTP/1.1\r\nHost: query\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((address.host, address.port)) as client:
        client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_texts_whose_callers_have_gone_keep_no_places_from_others(url: str):
    assert WITHIN < (RUNNING + WAITING) / RUNNING * TEXTS * SLOW_SECONDS * 2 / 3
    for number in range(RUNNING + WAITING):
        hang_up(url, number)
    fresh = iter(range(10_000))

    def status() -> int:
        query = {"text": f"red {url} {next(fresh)}"}
        return httpx.post(url, json=query, timeout=WITHIN).status_code

    eventually(status, WITHIN, wanted=lambda found: found == 200)
