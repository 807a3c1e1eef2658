"""Uploading: permission probe, bytes, and then one committed statement, in this order."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from local.gateway.identity import Caller
from local.gateway.storage import faults, objects, signing
from local.gateway.storage.buckets import MAX_BYTES, find_bucket
from local.gateway.storage.call import Call, valid_key
from local.gateway.storage.files import Stored, new_md5
from local.gateway.storage.incoming import Incoming, receive

FOLDER_PLACEHOLDER = ".emptyFolderPlaceholder"  # the dashboard uploads it to make a folder; always empty

log = logging.getLogger(__name__)


class Rollback(Exception):
    """Ends a permission probe that went well."""


async def upload(call: Call) -> Response:
    """POST /object/{bucket}/{name}: a new object, or with `x-upsert: true` also new bytes for an old one."""
    return _stored(
        call, await _upload(call, call.name, upsert=call.request.headers.get("x-upsert") == "true")
    )


async def overwrite(call: Call) -> Response:
    """PUT /object/{bucket}/{name}: always an upsert."""
    return _stored(call, await _upload(call, call.name, upsert=True))


async def upload_signed(call: Call) -> Response:
    """PUT /object/upload/sign/{bucket}/{name}?token=…: the permission was probed when the URL was signed."""
    claims = signing.check(call, "upload")
    signed = on_behalf_of(call, claims.get("owner"))
    await _upload(signed, call.name, upsert=bool(claims.get("upsert")))
    return JSONResponse({"Key": f"{call.bucket}/{call.name}"})


def on_behalf_of(call: Call, owner: str | None) -> Call:
    """The call with Storage's own rights, whose upload belongs to the user who signed its URL."""
    claims = {"role": "service_role", "sub": owner}
    return replace(call, caller=Caller(role="service_role", claims=claims))


async def probe(call: Call, bucket: str, name: str, *, upsert: bool, metadata: dict[str, Any]) -> None:
    """Ask the policies by really writing the row as the caller, and rolling back."""
    row = {"bucket_id": bucket, "name": name, "version": "1", "metadata": metadata}
    row |= objects.owned_by(call.caller)
    try:
        async with call.transaction() as connection:
            await (objects.upsert if upsert else objects.create)(connection, row)
            raise Rollback
    except Rollback:
        return


async def complete(
    call: Call, bucket: str, name: str, row: dict[str, Any], *, upsert: bool
) -> tuple[objects.Row, str | None]:
    """Commit the row of a version whose bytes are stored; also the version that it replaced.

    The bytes of the new version are removed where this fails, as where a name that was free is taken by now.
    """
    try:
        async with call.as_service.transaction() as connection:
            await objects.lock(connection, bucket, name)
            old = await objects.find(connection, bucket, name, for_update=True)
            if old and not upsert:
                raise faults.duplicate("KeyAlreadyExists")
            new = await objects.upsert(connection, {"bucket_id": bucket, "name": name, **row})
    except BaseException:
        await withdraw(call, bucket, name, row["version"])
        raise
    return new, old["version"] if old else None


async def withdraw(call: Call, bucket: str, name: str, version: str) -> None:
    """Remove a version's bytes after a failure, unless the row points to them.

    A connection that broke in the middle of a commit leaves open which of the two it is: bytes too many do
    less harm than a row without bytes.
    """
    with contextlib.suppress(faults.Fault):
        async with call.as_service.transaction() as connection:
            row = await objects.find(connection, bucket, name)
        if row is None or row["version"] != version:
            await call.files.remove(version)


async def discard(call: Call, version: str | None) -> None:
    """Remove bytes that nothing points to any more. A version that isn't a UUID was never ours to store."""
    try:
        if version:
            await call.files.remove(version)
    except (OSError, ValueError) as error:
        log.warning("The bytes of version %s are left behind: %s", version, error)


def etag(md5: str, *, in_parts: bool = False) -> str:
    """Of bytes with this hex MD5, as S3 has it; `in_parts`, of which there is one, it hashes their hashes."""
    if not in_parts:
        return f'"{md5}"'
    return f'"{new_md5(bytes.fromhex(md5)).hexdigest()}-1"'


def described(
    stored: Stored, mime_type: str, cache_control: str, *, in_parts: bool = False
) -> dict[str, Any]:
    """storage.objects.metadata, as the back end of the real server reports it."""
    return {
        "eTag": etag(stored.md5, in_parts=in_parts),
        "size": stored.size,
        "mimetype": mime_type,
        "cacheControl": cache_control,
        "lastModified": objects.timestamp(stored.modified),
        "contentLength": stored.size,
        "httpStatusCode": 200,
    }


async def _upload(call: Call, name: str, *, upsert: bool) -> objects.Row:
    bucket = await find_bucket(call.as_service, call.bucket)
    incoming = await receive(call.request)
    check_mime_type(name, incoming.mime_type, bucket["allowed_mime_types"])
    expected = {"mimetype": incoming.mime_type, "contentLength": incoming.length}
    await probe(call, call.bucket, valid_key(name), upsert=upsert, metadata=expected)
    version = str(uuid4())
    stored = await call.files.write(version, incoming.chunks, _limit(name, bucket["file_size_limit"]))
    row, replaced = await complete(
        call, call.bucket, name, _row(call, version, stored, incoming), upsert=upsert
    )
    await discard(call, replaced)
    return row


def _stored(call: Call, row: objects.Row) -> Response:
    return JSONResponse({"Key": f"{call.bucket}/{row['name']}", "Id": str(row["id"])})


def _row(call: Call, version: str, stored: Stored, incoming: Incoming) -> dict[str, Any]:
    return {
        "version": version,
        "metadata": described(stored, incoming.mime_type, incoming.cache_control),
        "user_metadata": incoming.user_metadata,
        **objects.owned_by(call.caller),
    }


def _limit(name: str, of_bucket: int | None) -> int:
    if name.endswith(FOLDER_PLACEHOLDER):
        return 0
    return MAX_BYTES if of_bucket is None else min(MAX_BYTES, of_bucket)


def check_mime_type(name: str, mime_type: str, allowed: list[str] | None) -> None:
    """A fault unless the bucket allows this type."""
    if not allowed or name.endswith(FOLDER_PLACEHOLDER):
        return
    kind = mime_type.split("/")[0]
    if "/" not in mime_type or not {mime_type, f"{kind}/*", "*/*"} & set(allowed):
        raise faults.invalid_mime_type(mime_type)
