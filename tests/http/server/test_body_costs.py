"""Whatever a stranger sends is refused before it costs: in CPU seconds and memory of the serving process."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection

import httpx
import pytest
from served import Served

from shared.testing import picture

CPU_SECONDS = 0.5
BYTES = 100_000_000  # beside four times the body

MB = 1_000_000
WHOLE = 65 * MB  # about the longest that is taken at all
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
IMAGE = {"Content-Type": "image/png"}
PNG = picture()


def filled(beginning: bytes, unit: bytes, end: bytes = b"", size: int = WHOLE) -> bytes:
    return beginning + unit * ((size - len(beginning) - len(end)) // len(unit)) + end


def part(name: str, value: bytes, more: bytes = b"") -> bytes:
    return (
        b'--x\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + more + b"\r\n\r\n" + value
    )


FILE = part("image", b"", b'; filename="a.png"')
BODIES: dict[str, tuple[dict[str, str], Callable[[], bytes]]] = {
    "objects": (JSON, lambda: filled(b'{"text":"red","x":[', b"{},", b"{}]}")),
    "ids": (JSON, lambda: filled(b'{"like":[', b"1,", b"1]}")),
    "a megabyte of ids": (JSON, lambda: filled(b'{"like":[', b"1,", b"1]}", MB)),
    "a quarter of a megabyte of ids": (JSON, lambda: filled(b'{"like":[', b"1,", b"1]}", MB // 4)),
    "examples": (JSON, lambda: filled(b'{"like":[', b'{"id":1,"weight":2},', b"1]}", MB // 4)),
    "unknown fields": (
        JSON,
        lambda: b'{"text":"red"' + b"".join(b',"%d":1' % n for n in range(20_000)) + b"}",
    ),
    "unknown filters": (
        JSON,
        lambda: filled(b'{"text":"red","filter":{"metadata":{}', b',"a":1', b"}}", MB // 4),
    ),
    "metadata": (
        JSON,
        lambda: filled(b'{"text":"red","filter":{"metadata":{"a":[', b'"b",', b"1]}}}", 10 * MB),
    ),
    "less metadata": (
        JSON,
        lambda: filled(b'{"text":"red","filter":{"metadata":{"a":[', b"[],", b"1]}}}", MB // 4),
    ),
    "a long text in metadata": (
        JSON,
        lambda: filled(b'{"text":"red","filter":{"metadata":{"a":"', b"b", b'"}}}'),
    ),
    "kinds": (JSON, lambda: filled(b'{"text":"red","filter":{"mime_type":[', b'"a",', b'"a"]}}', MB // 4)),
    "numbers of many digits": (JSON, lambda: filled(b'{"limit":[', b"1" * 4000 + b",", b"1]}", MB // 4)),
    "a text": (JSON, lambda: filled(b'{"text":"', b"a", b'"}')),
    "a text with another letter": (JSON, lambda: filled('{"like":"é😀","text":"'.encode(), b"a", b'"}')),
    "escapes": (JSON, lambda: filled(b'{"text":"', b"\\n", b'"}')),
    "escaped letters": (JSON, lambda: filled(b'{"text":"', b"\\u0061", b'"}')),
    "escaped quotes": (JSON, lambda: filled(b'{"text":"', b'\\"', b'"}')),
    "backslashes": (JSON, lambda: filled(b'{"text":"', b"\\\\", b'"}')),
    "quotes": (JSON, lambda: filled(b"", b'"')),
    "a text without an end": (JSON, lambda: filled(b'{"text":"', b"a")),
    "spaces": (JSON, lambda: filled(b"", b" ")),
    "no UTF-8": (JSON, lambda: filled(b'{"text":"', b"\xff", b'"}')),
    "emoji": (JSON, lambda: filled(b'{"text":"', "😀".encode(), b'"}')),
    "depth": (JSON, lambda: filled(b'{"text":', b"[")),
    "eight long texts": (JSON, lambda: filled(b'{"text":[', b'"' + b"a" * (WHOLE // 9) + b'",', b'"a"]}')),
    "texts just not long": (JSON, lambda: filled(b'{"text":[', b'"' + b"a" * 11_990 + b'",', b'"a"]}')),
    "base64 of no image": (JSON, lambda: filled(b'{"image":"', b"QUJD", b'"}')),
    "no base64": (JSON, lambda: filled(b'{"image":"', b"!", b'"}')),
    "lines of nothing": (JSON, lambda: filled(b'{"image":"', b"\\r\\n", b'"}')),
    "base64 of short lines": (JSON, lambda: filled(b'{"image":"', b"QUJD\\n", b'!"}')),
    "a data URL of parameters": (JSON, lambda: filled(b'{"image":"data:image/png', b";a=b", b';base64,"}')),
    "a form of fields": (FORM, lambda: filled(b"", part("like", b"7\r\n"), b"--x--\r\n")),
    "a field": (FORM, lambda: filled(part("text", b""), b"a", b"\r\n--x--\r\n")),
    "a form of headers": (FORM, lambda: filled(b"--x\r\n", b"a: b\r\n", b"\r\n\r\n--x--\r\n")),
    "a header": (
        FORM,
        lambda: filled(b"--x\r\nContent-Disposition: form-data", b"; a=b", b"\r\n\r\n--x--\r\n"),
    ),
    "a file of line breaks": (FORM, lambda: filled(FILE, b"\r\n", b"\r\n--x--\r\n")),
    "a file of boundaries": (FORM, lambda: filled(FILE, b"\r\n--", b"\r\n--x--\r\n")),
    "a file of returns": (FORM, lambda: filled(FILE, b"\r", b"\r\n--x--\r\n")),
    "a form without an end": (FORM, lambda: filled(FILE, b"a")),
    "before the form": (FORM, lambda: filled(b"", b"\r\n-x")),
    "files of another field": (
        FORM,
        lambda: filled(part("picture", b"", b'; filename="a"'), b"a", b"\r\n--x--\r\n"),
    ),
    "no image": (IMAGE, lambda: filled(b"", b"a")),
    "more than is taken": (IMAGE, lambda: filled(b"", b"a", size=100 * MB)),
}


def refused(answer: httpx.Response) -> bool:
    return 400 <= answer.status_code < 500 and answer.json()["detail"] != ""


def assert_cheap(served: Served, send: Callable[[], httpx.Response], size: int) -> httpx.Response:
    """The refusal. Of three times the cheapest counts: others work on this machine too."""
    for left in (2, 1, 0):
        with served.measured() as cost:
            answer = send()
        assert refused(answer), answer.text
        assert cost.alive
        if not left or (cost.cpu_seconds <= CPU_SECONDS and cost.bytes <= BYTES + 4 * size):
            break
    assert cost.cpu_seconds <= CPU_SECONDS
    assert cost.bytes <= BYTES + 4 * size
    return answer


@pytest.mark.parametrize("kind", BODIES)
def test_no_body_costs_more_than_half_a_second_before_it_is_refused(served: Served, kind: str):
    headers, build = BODIES[kind]
    body = build()
    assert_cheap(served, lambda: httpx.post(served.url, content=body, headers=headers, timeout=60), len(body))


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
def test_no_body_of_random_pieces_does(served: Served, seed: int):
    draw = random.Random(seed)
    beginning = b"{" + b"".join(draw.choices(UNITS + WORDS, k=draw.randint(0, 6)))
    unit = b"".join(draw.choices(UNITS + WORDS[:6], k=draw.randint(1, 4)))
    body = filled(beginning, unit, b"".join(draw.choices(UNITS, k=3)), draw.choice([MB // 4, 5 * MB, WHOLE]))
    assert_cheap(served, lambda: httpx.post(served.url, content=body, headers=JSON, timeout=60), len(body))


def test_no_body_of_small_chunks_does(served: Served):
    def send() -> httpx.Response:
        return httpx.post(served.url, content=iter([b"a"] * MB), headers=IMAGE, timeout=60)

    assert "too many pieces" in assert_cheap(served, send, MB).text


@pytest.mark.parametrize("query", ["a&" * 30_000, "like=7&" * 9_000, "%61" * 20_000, "a" * 100_000])
def test_no_query_string_does(served: Served, query: str):
    def send() -> httpx.Response:
        connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
        with closing(connection):
            connection.request("POST", f"/?{query}", PNG, IMAGE)
            answer = connection.getresponse()
            return httpx.Response(answer.status, content=answer.read())

    assert_cheap(served, send, len(query))


def test_what_is_not_too_much_is_answered(served: Served):
    """32 texts of 1,000 characters, each escaped, and eight images of the ordinary size beside texts."""
    texts = json.dumps({"text": ["é" * 1000] * 32}).encode()
    assert len(texts) > 190_000
    assert httpx.post(served.url, content=texts, headers=JSON, timeout=60).status_code == 200
    image = base64.b64encode(bytes(3 * MB)).decode()
    answer = httpx.post(served.url, json={"text": ["red"] * 24, "image": [image] * 8}, timeout=60)
    assert answer.json()["type"] == "not-an-image"
