"""The bytes of an upload as they come, and the object that the last of them makes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from email.utils import format_datetime
from typing import Any

from starlette.requests import ClientDisconnect

from local.gateway.storage import faults as storage_faults
from local.gateway.storage import objects, uploads
from local.gateway.storage.call import Call
from local.gateway.storage.tus import faults, headers
from local.gateway.storage.tus.pending import Upload, until


def with_length(call: Call, upload: Upload, offset: int, limit: int) -> Upload:
    """The upload, with the length that a client tells later than at first."""
    length = headers.count(call.request.headers, "upload-length")
    if length is None:
        return upload
    if upload.length is not None or length < offset:
        raise faults.length_required()
    if length > limit:
        raise faults.too_large()
    return call.pending.declare_length(upload, length)


async def receive(call: Call, upload: Upload, limit: int, wanted: asyncio.Event) -> int:
    """Add the body; the new offset."""
    most = limit if upload.length is None else upload.length
    size = call.request.headers.get("content-length", "0")
    if call.pending.offset(upload) + int(size) > most:
        raise faults.longer_than_told()
    try:
        async with contextlib.aclosing(until(wanted, call.request.stream())) as chunks:
            return await call.pending.append(upload, chunks, most)
    except ClientDisconnect:
        if call.pending.offset(upload) != upload.length:
            raise
        return upload.length  # nothing is missing but the end of the request


async def finish_if_complete(call: Call, upload: Upload, *, upsert: bool) -> dict[str, str]:
    """Make the object of an upload that has all its bytes; the headers that tell how far it is."""
    if upload.finished:
        return {"tus-complete": "1"}
    if call.pending.offset(upload) != upload.length:
        return {"upload-expires": format_datetime(upload.expires, usegmt=True)}
    stored = await call.pending.seal(upload)
    cache_control = str(upload.metadata["cacheControl"])
    row = {
        "version": upload.version,
        "metadata": uploads.described(stored, mime_type(upload), cache_control, in_parts=True),
        "user_metadata": _user_metadata(upload),
        **objects.owned_by(call.caller),
    }
    try:
        _, replaced = await uploads.complete(call, upload.bucket, upload.name, row, upsert=upsert)
    except storage_faults.Fault:
        call.pending.forget(upload)
        raise
    call.pending.finish(upload)
    await uploads.discard(call, replaced)
    return {"tus-complete": "1"}


def mime_type(upload: Upload) -> str:
    return upload.metadata.get("contentType") or "application/octet-stream"


def _user_metadata(upload: Upload) -> dict[str, Any] | None:
    """The user's own metadata; null where there is none that can be read, as the real server has it."""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(upload.metadata.get("metadata") or "null")
        return value if isinstance(value, dict) else None
    return None
