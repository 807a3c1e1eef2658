"""Downloading: who may read, and the bytes with their headers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any, BinaryIO
from urllib.parse import quote

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from local.gateway.storage import conditions, faults, objects, signing
from local.gateway.storage.buckets import find_bucket
from local.gateway.storage.call import Call
from local.gateway.storage.files import CHUNK

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)
# Objects of any type run no script and send no form: the project's page has the same origin. It is kept for
# them, which gives a document without scripts nothing, since videos that are opened directly load from it.
INERT = {
    "content-security-policy": "default-src 'none'; img-src data:; media-src 'self'; "
    "style-src 'unsafe-inline'; sandbox allow-same-origin",
    "x-content-type-options": "nosniff",
}


async def download(call: Call) -> Response:
    """GET /object/[authenticated/]{bucket}/{name}: by the policies, unless the bucket is public."""
    return await _send(call, await _readable(call))


async def download_public(call: Call) -> Response:
    """GET /object/public/{bucket}/{name}: of a public bucket only."""
    return await _send(call, await _public(call))


async def download_signed(call: Call) -> Response:
    """GET /object/sign/{bucket}/{name}?token=…: everybody with the URL may read until it expires."""
    signing.check(call, "download")
    async with call.as_service.transaction() as connection:
        row = await objects.existing(connection, call.bucket, call.name)
    return await _send(call, row)


async def info(call: Call) -> Response:
    """GET /object/info/[authenticated/]{bucket}/{name}: the row, and not the bytes."""
    return _describe(await _readable(call))


async def info_public(call: Call) -> Response:
    """GET /object/info/public/{bucket}/{name}."""
    return _describe(await _public(call))


async def _readable(call: Call) -> objects.Row:
    bucket = await find_bucket(call.as_service, call.bucket)
    if not (call.caller.known or bucket["public"]):
        raise faults.no_such_bucket()
    # A public bucket is read without asking the policies.
    reader = call.as_service if bucket["public"] else call
    async with reader.transaction() as connection:
        return await objects.existing(connection, call.bucket, call.name)


async def _public(call: Call) -> objects.Row:
    bucket = await find_bucket(call.as_service, call.bucket)
    if not bucket["public"]:
        raise faults.no_such_bucket()
    async with call.as_service.transaction() as connection:
        return await objects.existing(connection, call.bucket, call.name)


def _describe(row: objects.Row) -> Response:
    metadata = row["metadata"] or {}
    return JSONResponse(
        {
            "id": str(row["id"]),
            "name": row["name"],
            "version": row["version"],
            "bucket_id": row["bucket_id"],
            "size": metadata.get("size"),
            "content_type": metadata.get("mimetype"),
            "cache_control": metadata.get("cacheControl"),
            "etag": metadata.get("eTag"),
            "metadata": row["user_metadata"],
            "last_modified": row["updated_at"].isoformat(),
            "created_at": row["created_at"].isoformat(),
        }
    )


async def _send(call: Call, row: objects.Row) -> Response:
    headers = _headers(call, row)
    asked, version = call.request.headers, (headers["etag"], row["updated_at"])
    if conditions.precondition_failed(asked, *version):
        raise faults.precondition_failed()
    if conditions.is_unchanged(asked, *version):
        return Response(status_code=304, headers=headers)
    try:
        file = await call.files.open(row["version"])
    except ValueError:  # a row that was written past Storage, with a version that is no UUID
        raise faults.bytes_missing() from None
    try:
        part = _part(call.request.headers.get("range"), size=_size(file))
    except faults.Fault:
        file.close()
        raise
    return _Bytes(file, part, headers)


class _Bytes(StreamingResponse):
    """A part of a file, which is closed however the response ends."""

    def __init__(self, file: BinaryIO, part: _Part, headers: dict[str, str]):
        super().__init__(_chunks(file, part), 206 if part.partial else 200, headers | part.headers())
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _headers(call: Call, row: objects.Row) -> dict[str, str]:
    told: dict[str, Any] = row["metadata"] or {}
    metadata = {key: value for key, value in told.items() if objects.is_sendable(value)}  # any, by SQL
    mime_type = metadata.get("mimetype") or "application/octet-stream"
    headers = {
        "accept-ranges": "bytes",
        "x-robots-tag": "none",
        "content-type": "text/plain" if "text/html" in mime_type.lower() else mime_type,  # as the real server
        "etag": metadata.get("eTag") or f'"{row["version"]}"',
        "last-modified": format_datetime(row["updated_at"], usegmt=True),
        "cache-control": metadata.get("cacheControl") or "no-cache",
        **INERT,
    }
    name = call.request.query_params.get("download")
    if name is not None:
        encoded = quote(name, safe="")
        filename = f" filename={encoded}; filename*=UTF-8''{encoded}" if name else ""
        headers["content-disposition"] = f"attachment;{filename}"
    return headers


@dataclass(frozen=True)
class _Part:
    """The bytes from `start` up to and without `end`, of `size`."""

    start: int
    end: int
    size: int
    partial: bool

    def headers(self) -> dict[str, str]:
        headers = {"content-length": str(self.end - self.start)}
        if self.partial:
            headers["content-range"] = f"bytes {self.start}-{self.end - 1}/{self.size}"
        return headers


def _part(wanted: str | None, size: int) -> _Part:
    """One range of bytes; all of them where that is no range, or several, as from the real back end."""
    match = RANGE.fullmatch(wanted or "")
    if not match or match[0] == "bytes=-":
        return _Part(0, size, size, partial=False)
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise faults.invalid_range()
    return _Part(start, end, size, partial=True)


def _size(file: BinaryIO) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


async def _chunks(file: BinaryIO, part: _Part) -> AsyncIterator[bytes]:
    file.seek(part.start)
    left = part.end - part.start
    while left and (chunk := await asyncio.to_thread(file.read, min(CHUNK, left))):
        left -= len(chunk)
        yield chunk
