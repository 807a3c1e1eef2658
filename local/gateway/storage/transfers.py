"""Moving and copying objects, within a bucket and between two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from local.gateway.storage import faults, objects, signing, uploads
from local.gateway.storage.body import Body
from local.gateway.storage.call import Call, valid_key


async def move(call: Call) -> Response:
    """POST /object/move: one UPDATE; the row keeps its id and gets a new name and a new version."""
    moved = {"message": "Successfully moved"}
    source_bucket, source, target_bucket, target = _ends(await call.body())
    version = str(uuid4())
    change: dict[str, Any] = {"name": target, "bucket_id": target_bucket, "version": version}
    change |= objects.owned_by(call.caller)
    await _probe_move(call, source_bucket, source, change)
    if (source_bucket, source) == (target_bucket, target):
        return JSONResponse(moved)
    async with call.as_service.transaction() as connection:
        row = await objects.existing(connection, source_bucket, source)
    stored = await _copy_bytes(call, row["version"], version)
    try:
        async with call.as_service.transaction() as connection:
            await objects.lock(connection, source_bucket, target)
            old = await objects.existing(connection, source_bucket, source, for_update=True)
            change["metadata"] = (row["metadata"] or {}) | stored
            await objects.update(connection, source_bucket, source, change)
    except BaseException:
        await uploads.withdraw(call, target_bucket, target, version)
        raise
    await uploads.discard(call, old["version"])
    return JSONResponse(moved)


async def copy(call: Call) -> Response:
    """POST /object/copy: a new row with the same bytes, owned by the caller."""
    body = await call.body()
    source_bucket, source, target_bucket, target = _ends(body)
    upsert = call.request.headers.get("x-upsert") == "true"
    async with call.transaction() as connection:
        row = await objects.existing(connection, source_bucket, source)
    metadata = (row["metadata"] or {}) | _given_metadata(body)
    expected = {key: metadata.get(key) for key in ("mimetype", "contentLength")}
    await uploads.probe(call, target_bucket, target, upsert=upsert, metadata=expected)
    version = str(uuid4())
    stored = await _copy_bytes(call, row["version"], version)
    values = {
        "version": version,
        "metadata": metadata | stored,
        "user_metadata": row["user_metadata"],
        **objects.owned_by(call.caller),
    }
    copied, replaced = await uploads.complete(call, target_bucket, target, values)
    await uploads.discard(call, replaced)
    return JSONResponse(
        {"Id": str(copied["id"]), "Key": f"{target_bucket}/{target}", **objects.presentable(copied)}
    )


async def sign_upload(call: Call) -> Response:
    """POST /object/upload/sign/{bucket}/{name}: a URL to upload to later, for who may upload now."""
    upsert = call.request.headers.get("x-upsert") == "true"
    await uploads.probe(call, call.bucket, call.name, upsert=upsert, metadata={})
    return JSONResponse(signing.upload_url(call, upsert=upsert))


def _ends(body: Body) -> tuple[str, str, str, str]:
    body.require("bucketId", "sourceKey", "destinationKey")
    bucket, source = body.text("bucketId"), body.text("sourceKey")
    return bucket, source, body.text("destinationBucket") or bucket, valid_key(body.text("destinationKey"))


def _given_metadata(body: Body) -> dict[str, Any]:
    if body.flag("copyMetadata", True):
        return {}
    given = body.part("metadata")
    return {key: given.text(key) for key in ("cacheControl", "mimetype") if key in given}


async def _probe_move(call: Call, bucket: str, name: str, change: dict[str, Any]) -> None:
    """Ask the policies by really moving the row as the caller, and rolling back."""
    try:
        async with call.transaction() as connection:
            await objects.existing(connection, bucket, name)
            await objects.update(connection, bucket, name, change)
            raise uploads.Rollback
    except uploads.Rollback:
        return


async def _copy_bytes(call: Call, version: str, new_version: str) -> dict[str, Any]:
    """The metadata that are the copy's own."""
    try:
        md5 = await call.files.copy(version, new_version)
    except ValueError:  # a row that was written past Storage, with a version that is no UUID
        raise faults.bytes_missing() from None
    return {"eTag": uploads.etag(md5), "lastModified": objects.timestamp(datetime.now(UTC))}
