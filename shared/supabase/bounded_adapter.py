"""Connections to Storage on which uploads, and answers from their first byte on, come within bounds of time.

A socket's time-out counts for the whole body that it is given to send, urllib3 gives it the one for
connecting, and it begins anew with each byte that is read; http.client waits for an answer's head itself.
"""

from __future__ import annotations

import io
import time
from functools import cache
from http.client import HTTPResponse
from typing import Any, cast

from requests.adapters import HTTPAdapter

from shared.errors import StorageUnavailable
from shared.runtime import disconnect
from shared.supabase import retry_after, storage_answers

PIECE = 64 * 1024  # bytes that are sent at a time


class BoundedAdapter(HTTPAdapter):
    """requests' own, also through proxies, for bounded connections."""

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        pool = cast(Any, super().get_connection_with_tls_context(*arguments, **options))
        pool.ConnectionCls = _bounded(type(pool).ConnectionCls)
        return pool


@cache
def _bounded(connection: type) -> type:
    return type(connection.__name__, (_BoundedSending, connection), {"response_class": BoundedResponse})


class Deadline:
    """The end of the time for one upload or answer, later with each byte of it."""

    def __init__(self) -> None:
        self._until = time.monotonic() + storage_answers.TOTAL_SECONDS

    @property
    def seconds(self) -> float:
        """Until then, or until a silence is too long."""
        return min(max(self._until - time.monotonic(), 0.001), storage_answers.READ_SECONDS)

    def check(self) -> None:
        """Raises TimeoutError once it is over, ClientClosedRequest where the client has hung up."""
        disconnect.check()
        if time.monotonic() > self._until:
            raise TimeoutError("it takes too long")

    def extend(self, size: int) -> None:
        self._until += size / storage_answers.BYTES_PER_SECOND


class _BoundedSending:
    """Of a connection of http.client's: raises StorageUnavailable where a body isn't taken in time."""

    sock: Any

    def send(self, data: bytes) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        deadline, rest, seconds = Deadline(), memoryview(data), self.sock.gettimeout()
        try:
            while rest:
                deadline.check()
                self.sock.settimeout(deadline.seconds)
                super().send(rest[:PIECE])  # type: ignore[misc]
                deadline.extend(PIECE)
                rest = rest[PIECE:]
        except TimeoutError as error:
            text = "Storage takes the file too slowly: try again later, or send a smaller one."
            raise StorageUnavailable(text, retry_after=retry_after.DEFAULT, told=text) from error
        self.sock.settimeout(seconds)


class BoundedResponse(HTTPResponse):
    """Raises TimeoutError where the answer isn't there in time."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        # Undocumented: a test lets each part of an answer drip.
        self._source = _Bounded(self.fp.detach())
        self.fp = io.BufferedReader(self._source)

    def expect(self, size: int) -> None:
        """Lets so many bytes of a body come, packed or not, behind the head."""
        self._source.left += size


class _Bounded(io.RawIOBase):
    def __init__(self, source: io.RawIOBase):
        self._source = source
        self._deadline = Deadline()
        self.left = storage_answers.BESIDE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._deadline.check()
        if self.left < 0:
            raise TimeoutError("it has no end")
        size = self._source.readinto(buffer)
        self._deadline.extend(size or 0)
        self.left -= size or 0
        return size

    def close(self) -> None:
        self._source.close()
        super().close()
