"""The protocol's requests: create, add bytes, ask how far it came, give up."""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from local.gateway.storage import faults as storage_faults
from local.gateway.storage import signing, uploads
from local.gateway.storage.buckets import MAX_BYTES, VALID_NAME, find_bucket
from local.gateway.storage.call import Call, valid_key
from local.gateway.storage.tus import faults, headers, receiving
from local.gateway.storage.tus.addresses import address, named
from local.gateway.storage.tus.pending import Upload
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
            if fault.http == 415:  # the framework's, in the framework's own form
                raise
            raise faults.translated(fault) from fault
        response.headers["tus-resumable"] = faults.VERSION
        return response

    return answer


async def tell(call: Call) -> Response:
    """OPTIONS: the server's abilities."""
    told = {
        "tus-resumable": faults.VERSION,
        "tus-version": faults.VERSION,
        "tus-extension": EXTENSIONS,
        "tus-max-size": str(MAX_BYTES),
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
        mime_type, allowed = receiving.mime_type(upload), bucket["allowed_mime_types"]
        uploads.check_mime_type(upload.name, mime_type, allowed)
    async with call.pending.turn(upload.version) as wanted:
        call.pending.create(upload)
        answer = {"location": address(call.request, upload)}
        try:
            if call.request.headers.get("content-type") == headers.CONTENT_TYPE:
                answer["upload-offset"] = str(await receiving.receive(call, upload, limit, wanted))
            answer |= await receiving.finish_if_complete(call, upload, upsert=upsert)
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
    told = named(call.request)
    call, upsert = _authorized(call, told)
    await _probe(call, _known(call, told) or told, upsert)
    limit = _limit(await find_bucket(call.as_service, told.bucket))
    async with call.pending.turn(told.version) as wanted:
        upload = await _current(call, told)
        if offset != call.pending.offset(upload):
            raise faults.offset_conflict()
        upload = receiving.with_length(call, upload, offset, limit)
        if not upload.finished:
            offset = await receiving.receive(call, upload, limit, wanted)
        answer = {"upload-offset": str(offset)} | await receiving.finish_if_complete(
            call, upload, upsert=upsert
        )
        if wanted.is_set():
            answer["connection"] = "close"  # the rest of the body is not read any more
        return Response(status_code=204, headers=answer)


@_protocol
async def show(call: Call) -> Response:
    """HEAD /upload/resumable[/sign]/{upload}: how many bytes there are. Everybody with the URL may ask."""
    told = named(call.request)
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
    told = named(call.request)
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
    """The call as the uploader, and whether they may replace an object.

    At a signed address that is the signer, otherwise the caller.
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
    expected = {"mimetype": receiving.mime_type(upload), "contentLength": upload.length}
    await uploads.probe(call, upload.bucket, upload.name, upsert=upsert, metadata=expected)


def _limit(bucket: dict[str, Any]) -> int:
    return min(MAX_BYTES, bucket["file_size_limit"] or MAX_BYTES)
