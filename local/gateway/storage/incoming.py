"""An upload's body, read as it arrives: multipart as the client libraries send it, or the bare bytes."""

from __future__ import annotations

import base64
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from local.gateway.storage import faults

MAX_FIELDS = 1024 * 1024  # bytes of all fields of a form, user metadata among them
PART = 100  # and of one, at least


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """The facts about a file before its bytes are read, and the bytes."""

    mime_type: str
    cache_control: str
    user_metadata: dict[str, Any]
    length: int | None  # of the whole body, as the client declared it
    chunks: AsyncIterator[bytes]


async def receive(request: Request) -> Incoming:
    """Read `request` up to the first byte of its file."""
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    if content_type != b"multipart/form-data":
        return _bare(request)
    form = _Form(request, options.get(b"boundary", b""))
    await form.read_to_file()
    fields = form.fields
    seconds = fields.get("cacheControl")
    return Incoming(
        mime_type=(fields.get("contentType") or form.file_type).strip() or "application/octet-stream",
        cache_control=f"max-age={seconds}" if seconds else "no-cache",
        user_metadata=_object(fields.get("metadata") or fields.get("userMetadata")),
        length=_length(request),
        chunks=form.file(),
    )


def _bare(request: Request) -> Incoming:
    headers = request.headers
    encoded = headers.get("x-metadata")
    metadata = ""
    with contextlib.suppress(ValueError):  # the real server ignores user metadata that it can't read
        metadata = base64.b64decode(encoded or "").decode()
    return Incoming(
        mime_type=headers.get("content-type") or "application/octet-stream",
        cache_control=headers.get("cache-control") or "no-cache",
        user_metadata=_object(metadata),
        length=_length(request),
        chunks=request.stream(),
    )


def _length(request: Request) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def _object(text: str | None) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(text or "{}")
        return value if isinstance(value, dict) else {}
    return {}


@dataclass
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    data: bytearray = field(default_factory=bytearray)
    name: str = ""
    is_file: bool = False


class _Form:
    """A multipart form whose first file is handed on in pieces, so that memory stays bounded."""

    def __init__(self, request: Request, boundary: bytes):
        self.fields: dict[str, str] = {}
        self.file_type = ""
        self._stream = request.stream()
        self._part = _Part()
        self._file_seen = self._file_complete = False
        self._held = 0
        self._pieces: deque[bytes] = deque()
        try:
            self._parser = MultipartParser(boundary, self._callbacks())
        except (ValueError, MultipartParseError):
            raise faults.no_content() from None

    async def read_to_file(self) -> None:
        while not self._file_seen:
            if not await self._feed():
                raise faults.no_content()

    async def file(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            if not await self._feed():
                break
        if not self._file_complete:  # the client went away or sent half a form
            raise faults.no_content()

    async def _feed(self) -> bool:
        chunk = await anext(self._stream, b"")
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise faults.no_content() from None
        return bool(chunk)

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._part.header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._part.value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._part = _Part()
        self._hold(PART)

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > MAX_FIELDS:
            raise faults.too_large("user_metadata" if "etadata" in self._part.name else "field")

    def _header_end(self) -> None:
        part = self._part
        part.headers[part.header.decode("latin-1").lower()] = part.value.decode("utf-8", "replace")
        part.header.clear()
        part.value.clear()

    def _headers_finished(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get("content-disposition", ""))
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        part.is_file = b"filename" in options and not self._file_seen
        if part.is_file:
            self._file_seen = True
            self.file_type = part.headers.get("content-type", "")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part.is_file:
            self._pieces.append(bytes(data[start:end]))
            return
        self._hold(end - start)
        part.data.extend(data[start:end])

    def _end(self) -> None:
        if self._part.is_file:
            self._file_complete = True
        else:
            self.fields[self._part.name] = self._part.data.decode("utf-8", "replace")
