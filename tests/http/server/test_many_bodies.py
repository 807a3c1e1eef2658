"""Many large bodies at a time: all together they take bounded memory, and give it back."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import httpx
from served import Served
from support.hostile_bodies import JSON, MB
from support.hostile_images import many_scans

CALLERS = 12
SMALL = b'{"text":"red"}'
# Four bodies are held at most, and one is parsed, which takes four times its size; beside other requests.
MOST = 7 * 67 * MB + 100 * MB
LEFT = 150 * MB  # in heaps that small objects keep


def slow_image() -> bytes:
    """65 MB of JSON that a decoder has for long."""
    image = many_scans(100, (2400, 1800))
    return b'{"image":"' + base64.b64encode(image + bytes(49 * MB - len(image))) + b'"}'


def test_bodies_of_many_callers_take_bounded_memory_and_give_it_back(served: Served):
    body, before = slow_image(), served.worker.memory_info().rss

    def send(_: int) -> int:
        return httpx.post(served.url, content=body, headers=JSON, timeout=120).status_code

    with served.measured() as cost, ThreadPoolExecutor(CALLERS) as callers:
        statuses = callers.map(send, range(CALLERS))
        assert httpx.post(served.url, content=SMALL, headers=JSON, timeout=120).status_code == 200
        assert set(statuses) <= {200, 503}
    assert cost.bytes <= MOST
    assert served.worker.memory_info().rss - before <= LEFT
