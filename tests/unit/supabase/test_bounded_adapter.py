"""Storage that drips, or a gateway before it: no part of an answer holds a thread for ever."""

from __future__ import annotations

import pytest
from support.dripping_server import Gateway, dripping_server, slowly

from shared.errors import StorageError
from shared.supabase import storage_answers
from shared.supabase.storage import Storage, http_session

HEAD = b"HTTP/1.1 200 OK\r\nETag: x\r\n"
DRIPS = {
    "head": (HEAD + b"X: ", b"a"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (HEAD + b"Content-Length: 1000\r\n\r\n", b" "),
    "chunk's length": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n", b"X: 1\r\n"),
}

gateway = pytest.fixture(dripping_server)


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_no_part_of_an_answer_may_drip_for_ever(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, drip: tuple[bytes, bytes]
):
    monkeypatch.setattr(storage_answers, "TOTAL_SECONDS", 0.2)
    url = gateway(slowly(*drip), 0.05)
    with http_session(url) as session, pytest.raises(StorageError, match=r"more than 0\.2 for an answer"):
        Storage(url, None, session).download_shared("images", "a.png", token="t", max_bytes=1000)
