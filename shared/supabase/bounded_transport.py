"""The way to the database's API: answers come within bounds of bytes and time, and leave no cookie behind."""

from __future__ import annotations

import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import httpcore
import httpx

from shared.errors import DatabaseUnavailable, SettingsError
from shared.supabase import retry_after, surroundings

TOTAL_SECONDS = 60.0  # the longest answer, however steadily it drips
MAX_ANSWER = 64 * 1024 * 1024  # bytes, unpacked: 1000 rows with embeddings are a fifth of it
PACKED = "gzip"  # the only coding that is taken, and once: of two, 5 kB are 3 GB
# Shorter than the 5 s after which common servers drop an idle connection: a POST on it isn't retried.
KEEP_ALIVE = httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=4.0)
# One caller's cookie would go along with all others' calls. The others told how the body came.
DROPPED = ("set-cookie", "content-encoding", "content-length", "transfer-encoding")


def reason(error: httpx.HTTPError) -> str:
    """The fault in httpx's words; of a header that can't be sent, whose value they repeat, the type alone."""
    said = "" if isinstance(error, httpx.LocalProtocolError) else " ".join(str(error).split()).rstrip(".")
    return said or type(error).__name__


class Allowance:
    """The bytes and seconds left for one answer."""

    def __init__(self) -> None:
        self._bytes, self._until = MAX_ANSWER, time.monotonic() + TOTAL_SECONDS

    @property
    def bytes(self) -> int:
        return max(self._bytes, 0)

    @property
    def seconds(self) -> float:
        return max(self._until - time.monotonic(), 0.001)

    def take(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0 or time.monotonic() > self._until:
            text = (
                f"The database's API answered more than {MAX_ANSWER} bytes, or for {TOTAL_SECONDS} seconds."
            )
            raise DatabaseUnavailable(f"{text} Check SUPABASE_URL.", retry_after=retry_after.DEFAULT)


# Of this thread's answer as it comes over the network, its head and those that go before (1xx) included.
_raw: ContextVar[Allowance | None] = ContextVar("raw", default=None)


class BoundedTransport(httpx.BaseTransport):
    """Reads answers up to MAX_ANSWER and TOTAL_SECONDS, where httpx reads on to their end.

    Its own connections are made for the project of the first request, as Storage's are: through the
    environment's proxies and with its certificates, which httpx reads for a client without a transport alone.
    """

    def __init__(self, transport: httpx.BaseTransport | None = None):
        self._transport = transport
        self._opening = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Accept-Encoding"] = PACKED
        _raw.set(Allowance())
        response = self._opened(request.url).handle_request(request)
        try:
            content = _content(response)
        finally:
            response.close()
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in DROPPED]
        version = {"http_version": response.extensions.get("http_version", b"HTTP/1.1")}
        return httpx.Response(response.status_code, headers=headers, content=content, extensions=version)

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def _opened(self, url: httpx.URL) -> httpx.BaseTransport:
        with self._opening:
            self._transport = self._transport or _connections(str(url))
            return self._transport


def _content(response: httpx.Response) -> bytes:
    content, allowance = bytearray(), Allowance()
    parts = cast(Iterable[bytes], response.stream)
    for part in _unpacked(parts, response.headers.get("content-encoding", ""), allowance):
        allowance.take(len(part))
        content += part
    return bytes(content)


def _unpacked(parts: Iterable[bytes], coding: str, allowance: Allowance) -> Iterator[bytes]:
    if coding.lower() in ("", "identity"):
        yield from parts
        return
    if coding.lower() != PACKED:
        raise httpx.DecodingError(f"it answers in the coding {coding!r:.100}. Expected {PACKED} or none.")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        for part in parts:
            yield unpacker.decompress(part, allowance.bytes + 1)
    except zlib.error as error:
        raise httpx.DecodingError(f"its answer is no {PACKED}: {error}") from error


def _connections(url: str) -> httpx.HTTPTransport:
    """httpx's own, over connections of ours, for which it has no setting."""
    transport = httpx.HTTPTransport(
        limits=KEEP_ALIVE,
        retries=1,
        proxy=surroundings.proxy(url),
        verify=_certificates(surroundings.read(url).verify),
    )
    # Undocumented: a test lets each part of an answer drip.
    transport._pool._network_backend = _Network()
    return transport


def _certificates(told: str | bool | None) -> ssl.SSLContext | bool:
    if not isinstance(told, str):
        return told is not False
    try:
        if Path(told).is_dir():
            return ssl.create_default_context(capath=told)
        return ssl.create_default_context(cafile=told)
    except OSError as error:
        raise SettingsError(
            "The environment's REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names no certificates that can be read: "
            f"{type(error).__name__}. Expected a file or folder of them."
        ) from error


class _Network(httpcore.SyncBackend):
    def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*arguments, **options))


class _Stream(httpcore.NetworkStream):
    """Reads on the allowance of the answer that this thread waits for."""

    def __init__(self, stream: httpcore.NetworkStream):
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        allowance = _raw.get() or Allowance()
        data = self._stream.read(max_bytes, min(timeout or TOTAL_SECONDS, allowance.seconds))
        allowance.take(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*arguments, **options))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
