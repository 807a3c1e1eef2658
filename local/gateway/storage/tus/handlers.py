"""The protocol's requests: create, add bytes, ask how far it came, give up."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from email.utils import format_datetime
from typing import Any
from uuid import UUID, uuid4

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from local.gateway.storage import faults as storage_faults
from local.gateway.storage import objects, signing, uploads
from local.gateway.storage.buckets import VALID_NAME, find_bucket
from local.gateway.storage.call import Call, valid_key
from local.gateway.storage.tus import faults, headers
from local.gateway.storage.tus.pending import Upload, until
from local.gateway.storage.tus.sweeping import settle

EXTENSIONS = "creation,creation-with-upload,creation-defer-length,termination,expiration"
EXPOSED = [
    "tus-complete",
    "tus-extension",
    "tus-max-size",
    "tus-resumable",
    "tus-version",
    "upload-defer-length",
    "upload-expires",
    "upload-length",
    "upload-metadata",
    "upload-offset",
]
SECONDS = re.compile(r"-?\d+", re.ASCII)

Handler = Callable[[Call], Awaitable[Response]]


def _protocol(handler: Handler) -> Handler:
    """Check the protocol's headers first, and answer every fault in its form."""

    @functools.wraps(handler)
    async def answer(call: Call) -> Response:
        try:
            headers.check(call.request.headers)
            response = await handler(call)
        except storage_faults.Fault as fault:
            if fault.http == 415:
                raise
            raise faults.translated(fault) from fault
        response.headers["tus-resumable"] = faults.VERSION
        return response

    return answer


async def tell(call: Call) -> Response:
    """OPTIONS: what this server can do."""
    told = {
        "tus-resumable": faults.VERSION,
        "tus-version": faults.VERSION,
        "tus-extension": EXTENSIONS,
        "tus-max-size": str(uploads.MAX_BYTES),
    }
    return Response(status_code=204, headers=told)


@_protocol
async def create(call: Call) -> Response:
    """POST /upload/resumable[/sign]: a new upload, with its first bytes where they are sent along."""
    length = _told_length(call)
    upload = _described(call, length)
    call, upsert = _authorized(call, upload)
    bucket = await find_bucket(call.as_service, upload.bucket)
    limit = _limit(bucket)
    if length is not None and length > limit:
        raise faults.too_large()
    await _probe(call, upload, upsert)
    if upload.metadata.get("contentType"):
        uploads.check_mime_type(upload.name, _mime_type(upload), bucket["allowed_mime_types"])
    async with call.pending.turn(upload.version) as wanted:
        call.pending.create(upload)
        answer = {"location": _url(call, upload)}
        try:
            if call.request.headers.get("content-type") == headers.CONTENT_TYPE:
                answer["upload-offset"] = str(await _receive(call, upload, limit, wanted))
            answer |= await _finish_if_complete(call, upload)
        except (storage_faults.Fault, ClientDisconnect):  # the client never learns its address
            call.pending.forget(upload)
            raise
        return Response(status_code=201, headers=answer)


@_protocol
async def patch(call: Call) -> Response:
    """PATCH /upload/resumable[/sign]/{upload}: the next bytes; with the last ones the object is there."""
    offset = headers.count(call.request.headers, "upload-offset")
    if offset is None:
        raise faults.offset_missing()
    headers.check_content_type(call.request.headers)
    told = _named(call)
    call, upsert = _authorized(call, told)
    await _probe(call, _known(call, told) or told, upsert)
    limit = _limit(await find_bucket(call.as_service, told.bucket))
    async with call.pending.turn(told.version) as wanted:
        upload = await _current(call, told)
        if offset != call.pending.offset(upload):
            raise faults.offset_conflict()
        upload = _with_length(call, upload, offset, limit)
        if not upload.finished:
            offset = await _receive(call, upload, limit, wanted)
        answer = {"upload-offset": str(offset)} | await _finish_if_complete(call, upload)
        if wanted.is_set():
            answer["connection"] = "close"  # the rest of the body is not read any more
        return Response(status_code=204, headers=answer)


@_protocol
async def show(call: Call) -> Response:
    """HEAD /upload/resumable[/sign]/{upload}: how many bytes there are. Whoever knows the URL may ask."""
    told = _named(call)
    _authorized(call, told)
    async with call.pending.turn(told.version):
        upload = await _current(call, told)
        offset = call.pending.offset(upload)
    length = {"upload-defer-length": "1"} if upload.length is None else {"upload-length": str(upload.length)}
    return Response(
        headers={
            "cache-control": "no-store",
            "upload-offset": str(offset),
            **length,
            "upload-metadata": headers.format_metadata(upload.metadata),
        }
    )


@_protocol
async def terminate(call: Call) -> Response:
    """DELETE /upload/resumable[/sign]/{upload}: give an unfinished upload up."""
    told = _named(call)
    call, upsert = _authorized(call, told)
    await _probe(call, told, upsert)
    async with call.pending.turn(told.version):
        upload = await _current(call, told)
        if upload.finished:
            raise faults.completed()
        call.pending.forget(upload)
    return Response(status_code=204)


def _told_length(call: Call) -> int | None:
    given = call.request.headers
    if "upload-concat" in given:
        raise faults.concatenation_unsupported()
    length = headers.count(given, "upload-length")
    if (length is None) == (given.get("upload-defer-length") is None):
        raise faults.length_required()
    return length


def _described(call: Call, length: int | None) -> Upload:
    """The upload that the headers ask for."""
    text = call.request.headers.get("upload-metadata")
    if text is None:
        raise faults.TusFault(400, "Metadata header is required")
    metadata = headers.parse_metadata(text)
    seconds = metadata.get("cacheControl") or ""
    metadata["cacheControl"] = f"max-age={seconds}" if SECONDS.fullmatch(seconds) else "no-cache"
    bucket = metadata.get("bucketName") or ""
    if not VALID_NAME.fullmatch(bucket):
        raise storage_faults.invalid_bucket_name()
    return Upload(
        bucket=bucket,
        name=valid_key(metadata.get("objectName")),
        version=str(uuid4()),
        length=length,
        metadata=metadata,
        created=time.time(),
    )


def _url(call: Call, upload: Upload) -> str:
    """The upload's own address: absolute, as the client reaches us, through whatever proxy."""
    given, url = call.request.headers, call.request.url
    scheme = given.get("x-forwarded-proto", url.scheme)
    host = given.get("x-forwarded-host", url.netloc)
    identity = base64.urlsafe_b64encode(f"{upload.bucket}/{upload.name}/{upload.version}".encode())
    return f"{scheme}://{host}{url.path.rstrip('/')}/{identity.decode().rstrip('=')}"


def _named(call: Call) -> Upload:
    """What the address says of its upload."""
    encoded = str(call.request.path_params["upload"])
    try:
        text = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        bucket, rest = text.split("/", 1)
        name, version = rest.rsplit("/", 1)
        version = str(UUID(version))
    except (ValueError, binascii.Error):
        raise faults.TusFault(400, "Invalid upload id") from None
    return Upload(bucket=bucket, name=valid_key(name), version=version, length=None, metadata={}, created=0)


def _known(call: Call, told: Upload) -> Upload | None:
    with contextlib.suppress(faults.TusFault):
        upload = call.pending.find(told.version)
        if (upload.bucket, upload.name) == (told.bucket, told.name):
            return upload
    return None


async def _current(call: Call, told: Upload) -> Upload:
    """The upload as it is now; faults for one that is gone."""
    upload = _known(call, told)
    if upload is None:
        raise faults.not_found()
    if upload.is_expired:
        raise faults.expired()
    if not call.pending.is_broken(upload):
        return upload
    async with call.as_service.transaction() as connection:
        if await settle(connection, call.pending, call.files, upload):
            return replace(upload, finished=True)
    raise faults.not_found()


def _authorized(call: Call, upload: Upload) -> tuple[Call, bool]:
    """The call as the one who uploads, and whether they may replace what is there.

    At a signed address that is whoever signed, otherwise the caller.
    """
    if not call.operation.endswith("_signed"):
        return call, call.request.headers.get("x-upsert") == "true"
    signature = call.request.headers.get("x-signature")
    if not signature:
        raise faults.TusFault(400, "Missing x-signature header")
    claims = signing.verified(call.keys, signature, f"{upload.bucket}/{upload.name}", "upload")
    return uploads.on_behalf_of(call, claims.get("owner")), bool(claims.get("upsert"))


async def _probe(call: Call, upload: Upload, upsert: bool) -> None:
    """Ask the policies, at the start and with each part."""
    expected = {"mimetype": _mime_type(upload), "contentLength": upload.length}
    await uploads.probe(call, upload.bucket, upload.name, upsert=upsert, metadata=expected)


def _with_length(call: Call, upload: Upload, offset: int, limit: int) -> Upload:
    """The upload, with the length that a client tells later than at first."""
    length = headers.count(call.request.headers, "upload-length")
    if length is None:
        return upload
    if upload.length is not None or length < offset:
        raise faults.length_required()
    if length > limit:
        raise faults.too_large()
    return call.pending.declare_length(upload, length)


async def _receive(call: Call, upload: Upload, limit: int, wanted: asyncio.Event) -> int:
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


async def _finish_if_complete(call: Call, upload: Upload) -> dict[str, str]:
    """Make the object of an upload that has all its bytes; the headers that tell how far it is."""
    if upload.finished:
        return {"tus-complete": "1"}
    if call.pending.offset(upload) != upload.length:
        return {"upload-expires": format_datetime(upload.expires, usegmt=True)}
    stored = await call.pending.seal(upload)
    row = {
        "version": upload.version,
        "metadata": uploads.described(stored, _mime_type(upload), str(upload.metadata["cacheControl"])),
        "user_metadata": _user_metadata(upload),
        **objects.owned_by(call.caller),
    }
    try:
        _, replaced = await uploads.complete(call, upload.bucket, upload.name, row)
    except storage_faults.Fault:
        call.pending.forget(upload)
        raise
    call.pending.finish(upload)
    await uploads.discard(call, replaced)
    return {"tus-complete": "1"}


def _mime_type(upload: Upload) -> str:
    return upload.metadata.get("contentType") or "application/octet-stream"


def _user_metadata(upload: Upload) -> dict[str, Any] | None:
    """The user's own metadata; null where there is none that can be read, as the real server has it."""
    with contextlib.suppress(ValueError):
        value = json.loads(upload.metadata.get("metadata") or "null")
        return value if isinstance(value, dict) else None
    return None


def _limit(bucket: dict[str, Any]) -> int:
    return min(uploads.MAX_BYTES, bucket["file_size_limit"] or uploads.MAX_BYTES)
