"""A stranger's bodies are refused before they cost: in CPU seconds and memory of the serving process."""

from __future__ import annotations

import base64
import json
import random
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from http.client import HTTPConnection
from select import select
from typing import Any

import httpx
import pytest
from served import Served
from support.hostile_bodies import BODIES, BYTES, IMAGE, JSON, MB, READ, WHOLE, filled, most_cpu_seconds

from shared.testing import picture

TRIES = 5  # of which the cheapest counts: others work on this machine too

PNG = picture()
Assert = Callable[[Callable[[], httpx.Response], int], httpx.Response]


def refused(answer: httpx.Response) -> bool:
    return 400 <= answer.status_code < 500 and answer.json()["detail"] != ""


@pytest.fixture(scope="module")
def cpu_seconds(served: Served) -> float:
    """That a refusal takes at most on this machine."""
    headers, build = BODIES[READ]
    body, costs = build(), []
    for _ in range(3):
        with served.measured() as cost:
            httpx.post(served.url, content=body, headers=headers, timeout=60)
        costs.append(cost.cpu_seconds)
    return most_cpu_seconds(costs)


@pytest.fixture
def assert_cheap(served: Served, cpu_seconds: float) -> Assert:
    def check(send: Callable[[], httpx.Response], size: int) -> httpx.Response:
        """The refusal."""
        for left in reversed(range(TRIES)):
            with served.measured() as cost:
                answer = send()
            assert refused(answer), answer.text
            assert cost.alive
            if not left or (cost.cpu_seconds <= cpu_seconds and cost.bytes <= BYTES + 4 * size):
                break
        assert cost.cpu_seconds <= cpu_seconds
        assert cost.bytes <= BYTES + 4 * size
        return answer

    return check


@pytest.mark.parametrize("kind", BODIES)
def test_no_body_costs_more_than_half_a_second_before_it_is_refused(
    served: Served, assert_cheap: Assert, kind: str
):
    headers, build = BODIES[kind]
    body = build()
    assert_cheap(lambda: httpx.post(served.url, content=body, headers=headers, timeout=60), len(body))


UNITS = (b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"1", b"1e9", b"null", b"\\u00e9", b"\\n", b" ")
WORDS = (
    b'"text":',
    b'"like":[',
    b'"filter":{',
    b'"metadata":{',
    b'{"id":1}',
    b'{"image":"QUJD"},',
    b"QUJD" * 5000,
)


@pytest.mark.parametrize("seed", range(20))
def test_no_body_of_random_pieces_does(served: Served, assert_cheap: Assert, seed: int):
    draw = random.Random(seed)
    beginning = b"{" + b"".join(draw.choices(UNITS + WORDS, k=draw.randint(0, 6)))
    unit = b"".join(draw.choices(UNITS + WORDS[:6], k=draw.randint(1, 4)))
    body = filled(beginning, unit, b"".join(draw.choices(UNITS, k=3)), draw.choice([MB // 4, 5 * MB, WHOLE]))
    assert_cheap(lambda: httpx.post(served.url, content=body, headers=JSON, timeout=60), len(body))


CHUNKS = {
    "of one byte": (b"a", MB),
    "of 200 bytes": (b"a" * 200, WHOLE // 200),
    "with long extensions": (b"a", 6000, b";a" * 4000),
}


def chunked(piece: bytes, count: int, extension: bytes = b"") -> bytes:
    return (b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)) * count + b"0\r\n\r\n"


def answer_of(client: socket.socket) -> httpx.Response:
    answer, content = b"".join(iter(lambda: client.recv(65536), b"")).split(b"\r\n\r\n", 1)
    return httpx.Response(int(answer[9:12]), content=content)


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_no_body_of_small_chunks_does(served: Served, assert_cheap: Assert, chunks: tuple[Any, ...]):
    head = b"POST / HTTP/1.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = head + chunked(*chunks)

    def send() -> httpx.Response:
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as client:
            with suppress(ConnectionError):
                client.sendall(body)
            return answer_of(client)

    assert "too many pieces" in assert_cheap(send, len(body)).text


DRIPPING = {
    "the size of a chunk": b"1;a=",
    "trailers": b"1\r\n{\r\n0\r\na: " + b"b" * 600_000,
}


@pytest.mark.parametrize("beginning", DRIPPING.values(), ids=DRIPPING)
def test_no_body_does_that_drips(served: Served, assert_cheap: Assert, beginning: bytes):
    head = b"POST / HTTP/1.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"

    def send() -> httpx.Response:
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(head + beginning)
            while not select([client], [], [], 0.0003)[0]:
                client.sendall(b"b")
            return answer_of(client)

    assert_cheap(send, len(beginning))


@pytest.mark.parametrize("size", [4096, 65_536, MB, 40 * MB])
def test_chunks_as_clients_make_them_are_read(served: Served, size: int):
    answer = httpx.post(
        served.url, content=iter([bytes(size)] * (40 * MB // size)), headers=IMAGE, timeout=60
    )
    assert answer.json()["type"] == "not-an-image"


@pytest.mark.parametrize("query", ["a&" * 30_000, "like=7&" * 9_000, "%61" * 20_000, "a" * 100_000])
def test_no_query_string_does(served: Served, assert_cheap: Assert, query: str):
    def send() -> httpx.Response:
        connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
        with closing(connection):
            connection.request("POST", f"/?{query}", PNG, IMAGE)
            answer = connection.getresponse()
            return httpx.Response(answer.status, content=answer.read())

    assert_cheap(send, len(query))


@pytest.mark.parametrize(("length", "status"), [(1_100, 503), (200_000, 400)])
@pytest.mark.parametrize("unit", ["eyJ", "://a:", "eyJa.", "token=", "a@"])
def test_no_name_does_that_an_error_repeats(
    served: Served, cpu_seconds: float, unit: str, length: int, status: int
):
    """Storage can't be reached here: its client's error has the address, from which secrets are taken out."""
    fields = {"bucket": "images", "name": unit * (length // len(unit))}
    with served.measured() as cost:
        answer = httpx.post(
            f"{served.url}/embeddings", data=fields, files={"image": ("a.png", PNG)}, timeout=300
        )
    assert answer.status_code == status
    assert cost.cpu_seconds <= cpu_seconds


def test_what_is_not_too_much_is_answered(served: Served):
    """32 texts of 1,000 characters, each escaped, and eight images of the ordinary size beside texts."""
    texts = json.dumps({"text": ["é" * 1000] * 32}).encode()
    assert len(texts) > 190_000
    assert httpx.post(served.url, content=texts, headers=JSON, timeout=60).status_code == 200
    image = base64.b64encode(bytes(3 * MB)).decode()
    answer = httpx.post(served.url, json={"text": ["red"] * 24, "image": [image] * 8}, timeout=60)
    assert answer.json()["type"] == "not-an-image"
