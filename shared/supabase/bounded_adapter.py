"""Connections to Storage whose answers come within bounds of time from their first byte, the head included.

A socket's time-out begins anew with each byte, and http.client waits for the head itself.
"""

from __future__ import annotations

import io
import time
from functools import cache
from http.client import HTTPResponse
from typing import Any, cast

from requests.adapters import HTTPAdapter

from shared.supabase import storage_answers


class BoundedAdapter(HTTPAdapter):
    """requests' own, also through proxies, for BoundedResponse."""

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        pool = cast(Any, super().get_connection_with_tls_context(*arguments, **options))
        pool.ConnectionCls = _bounded(type(pool).ConnectionCls)
        return pool


@cache
def _bounded(connection: type) -> type:
    return type(connection.__name__, (connection,), {"response_class": BoundedResponse})


class BoundedResponse(HTTPResponse):
    """Raises TimeoutError where the answer isn't there within TOTAL_SECONDS."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        # Undocumented: a test lets each part of an answer drip.
        self.fp = io.BufferedReader(_Bounded(self.fp.detach()))


class _Bounded(io.RawIOBase):
    def __init__(self, source: io.RawIOBase):
        self._source = source
        self._until = time.monotonic() + storage_answers.TOTAL_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._until:
            raise TimeoutError("the answer takes too long")
        return self._source.readinto(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()
