"""Storage that drips, or a gateway before it: no part of an answer or upload holds a thread for ever."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator

import pytest
from support.dripping_server import Gateway, dripping_server, slowly
from support.slow_taker import slow_taker

from shared.errors import ClientClosedRequest, StorageError, StorageUnavailable
from shared.runtime import disconnect
from shared.supabase import storage, storage_answers
from shared.supabase.storage import Storage, http_session

HEAD = b"HTTP/1.1 200 OK\r\nETag: x\r\n"
DRIPS = {
    "head": (HEAD + b"X: ", b"a"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (HEAD + b"Content-Length: 1000\r\n\r\n", b" "),
    "chunk's length": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n", b"X: 1\r\n"),
}

CHUNKED = HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
MANY = 20_000  # bytes at a time
FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * (MANY // 25)),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n", b"X: 1\r\n" * (MANY // 6)),
    "the name of a gzip file": (
        CHUNKED + b"a\r\n\x1f\x8b\x08\x08\0\0\0\0\0\x03\r\n",
        b"%x\r\n%s\r\n" % (MANY, b"n" * MANY),
    ),
    "gzip of nothing": (CHUNKED, b"%x\r\n%s\r\n" % (20 * 1000, gzip.compress(b"") * 1000)),
}

gateway = pytest.fixture(dripping_server)


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_no_part_of_an_answer_may_go_on_for_ever_that_is_no_part_of_its_body(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, flood: tuple[bytes, bytes]
):
    monkeypatch.setattr(storage_answers, "BESIDE_BYTES", 200_000)
    url = gateway(slowly(*flood), 0.001)
    with http_session(url) as session, pytest.raises(StorageError, match="many more bytes"):
        Storage(url, None, session).download_shared("images", "a.png", token="t", max_bytes=1000)


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_no_part_of_an_answer_may_drip_for_ever(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, drip: tuple[bytes, bytes]
):
    monkeypatch.setattr(storage_answers, "TOTAL_SECONDS", 0.2)
    url = gateway(slowly(*drip), 0.05)
    with http_session(url) as session, pytest.raises(StorageError, match=r"more than 0\.2 for an answer"):
        Storage(url, None, session).download_shared("images", "a.png", token="t", max_bytes=1000)


def test_an_answer_is_read_no_further_once_the_client_has_hung_up(gateway: Gateway):
    gone = threading.Event()

    def parts() -> Iterator[bytes]:
        yield from (HEAD + b"Content-Length: 1000\r\n\r\n", b" ")
        gone.set()
        yield from slowly(b" ", b" ")

    url = gateway(parts(), 0.05)
    with (
        http_session(url) as session,
        disconnect.ends_work(lambda: not gone.is_set()),
        pytest.raises(ClientClosedRequest),
    ):
        Storage(url, None, session).download_shared("images", "a.png", token="t", max_bytes=1000)


def test_a_long_answer_may_take_longer(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storage_answers, "TOTAL_SECONDS", 0.2)
    part, parts = bytes(storage_answers.BYTES_PER_SECOND), 8
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(part) * parts)
    url = gateway(iter([head, *[part] * parts]), 0.05)
    with http_session(url) as session:
        got = Storage(url, None, session).download(
            "images", "a.png", version="1", max_bytes=10 * len(part) * parts
        )
    assert got == part * parts


LARGE = bytes(16 * 1024 * 1024)  # more than both systems keep of it


def upload(url: str) -> str:
    with http_session(url) as session:
        return Storage(url, None, session).upload("images", "a.png", LARGE, mime_type="image/png")


def test_an_upload_may_take_longer_than_connecting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storage, "CONNECT_SECONDS", 0.2)
    with slow_taker(pause=0.1, answer=b'{"Id": "1"}') as url:
        assert upload(url) == "1"


def test_an_upload_ends_once_the_client_has_hung_up():
    looks = iter([True] * 10)
    with (
        slow_taker(pause=0.0) as url,
        disconnect.ends_work(lambda: next(looks, False)),
        pytest.raises(ClientClosedRequest),
    ):
        upload(url)


@pytest.mark.parametrize(("bound", "pause"), [("READ_SECONDS", 10.0), ("TOTAL_SECONDS", 0.1)])
def test_an_upload_that_is_hardly_taken_ends(monkeypatch: pytest.MonkeyPatch, bound: str, pause: float):
    monkeypatch.setattr(storage_answers, bound, 0.2)
    monkeypatch.setattr(storage_answers, "BYTES_PER_SECOND", 10 * len(LARGE))
    with slow_taker(pause=pause) as url, pytest.raises(StorageUnavailable, match="too slowly") as caught:
        upload(url)
    assert "smaller" in caught.value.detail and caught.value.retry_after
