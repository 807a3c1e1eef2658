"""The function's early refusals arrive through the gateway too."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from served import Served
from starlette.applications import Starlette

from local.gateway import functions


@pytest.fixture
def gateway(served: Served) -> Iterator[str]:
    routes = functions.routes("/functions/v1", {"query": served.url}, functions.make_transport())
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/functions/v1/query"
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("size", [71_000_000, 80_000_000])
def test_a_body_beyond_the_limit_is_too_large(gateway: str, size: int):
    answer = httpx.post(gateway, content=bytes(size), headers={"Content-Type": "image/jpeg"}, timeout=60)
    assert (answer.status_code, answer.json()["type"]) == (413, "payload-too-large")


def test_a_method_that_isnt_taken_comes_with_those_that_are(gateway: str):
    answer = httpx.delete(gateway)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, OPTIONS")
