"""The function's early refusals arrive through the gateway too."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from served import Served
from starlette.applications import Starlette
from support import http_servers

from local.gateway import functions


@pytest.fixture
def gateway(served: Served) -> Iterator[str]:
    routes = functions.routes("/functions/v1", {"query": served.url}, functions.make_transport())
    with http_servers.asgi(Starlette(routes=routes)) as url:
        yield f"{url}/functions/v1/query"


@pytest.mark.parametrize("size", [71_000_000, 80_000_000])
def test_a_body_beyond_the_limit_is_too_large(gateway: str, size: int):
    answer = httpx.post(gateway, content=bytes(size), headers={"Content-Type": "image/jpeg"}, timeout=60)
    assert (answer.status_code, answer.json()["type"]) == (413, "payload-too-large")


def test_a_method_that_isnt_taken_comes_with_those_that_are(gateway: str):
    answer = httpx.delete(gateway)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, HEAD, OPTIONS")
