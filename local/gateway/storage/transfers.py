"""Moving and copying objects, within a bucket and between two."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from local.gateway.storage import faults, objects, signing, uploads
from local.gateway.storage.body import Body
from local.gateway.storage.call import Call, valid_key

ATTEMPTS = 5

Result = TypeVar("Result")


class _Place(NamedTuple):
    bucket: str
    name: str


class _Ends(NamedTuple):
    source: _Place
    target: _Place


class _Overwritten(Exception):
    """The object has other bytes by now than those that were copied."""


async def move(call: Call) -> Response:
    """POST /object/move: one UPDATE; the row keeps its id and gets a new name and a new version."""
    ends = await _ends(call)
    change: dict[str, Any] = {"name": ends.target.name, "bucket_id": ends.target.bucket}
    change |= objects.owned_by(call.caller)
    await _probe_move(call, ends.source, change | {"version": str(uuid4())})
    if ends.source != ends.target:
        await _settled(lambda: _move(call, ends, change))
    return JSONResponse({"message": "Successfully moved"})


async def _move(call: Call, ends: _Ends, change: dict[str, Any]) -> None:
    version = str(uuid4())
    async with call.as_service.transaction() as connection:
        row = await objects.existing(connection, *ends.source)
    stored = await _copy_bytes(call, ends.source, row, version)
    new = {"version": version, "metadata": (row["metadata"] or {}) | stored}
    try:
        async with call.as_service.transaction() as connection:
            for place in sorted((ends.source, ends.target)):
                await objects.lock(connection, *place)
            old = await objects.existing(connection, *ends.source, for_update=True)
            if old["version"] != row["version"]:
                raise _Overwritten
            await objects.update(connection, *ends.source, change | new)
    except BaseException:
        await uploads.withdraw(call, *ends.target, version)
        raise
    await uploads.discard(call, old["version"])


async def copy(call: Call) -> Response:
    """POST /object/copy: a new row with the same bytes, owned by the caller."""
    ends = await _ends(call)
    given = _given_metadata(await call.body())
    copied = await _settled(lambda: _copy(call, ends, given))
    return JSONResponse(
        {
            "Id": str(copied["id"]),
            "Key": f"{ends.target.bucket}/{ends.target.name}",
            **objects.presentable(copied),
        }
    )


async def _copy(call: Call, ends: _Ends, given: dict[str, Any]) -> objects.Row:
    upsert = call.request.headers.get("x-upsert") == "true"
    async with call.transaction() as connection:
        row = await objects.existing(connection, *ends.source)
    metadata = (row["metadata"] or {}) | given
    expected = {key: metadata.get(key) for key in ("mimetype", "contentLength")}
    await uploads.probe(call, *ends.target, upsert=upsert, metadata=expected)
    version = str(uuid4())
    stored = await _copy_bytes(call, ends.source, row, version)
    values = {
        "version": version,
        "metadata": metadata | stored,
        "user_metadata": row["user_metadata"],
        **objects.owned_by(call.caller),
    }
    copied, replaced = await uploads.complete(call, *ends.target, values, upsert=upsert)
    await uploads.discard(call, replaced)
    return copied


async def sign_upload(call: Call) -> Response:
    """POST /object/upload/sign/{bucket}/{name}: a URL to upload to later, for who may upload now."""
    upsert = call.request.headers.get("x-upsert") == "true"
    await uploads.probe(call, call.bucket, call.name, upsert=upsert, metadata={})
    return JSONResponse(signing.upload_url(call, upsert=upsert))


async def _settled(attempt: Callable[[], Awaitable[Result]]) -> Result:
    """What `attempt` comes to, which is begun again where the object is overwritten meanwhile."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(_Overwritten):
            return await attempt()
    raise faults.lock_timeout()


async def _ends(call: Call) -> _Ends:
    body = await call.body()
    body.require("bucketId", "sourceKey", "destinationKey")
    source = _Place(body.text("bucketId"), body.text("sourceKey"))
    bucket = body.text("destinationBucket") or source.bucket
    return _Ends(source, _Place(bucket, valid_key(body.text("destinationKey"))))


def _given_metadata(body: Body) -> dict[str, Any]:
    if body.flag("copyMetadata", True):
        return {}
    given = body.part("metadata")
    return {key: given.text(key) for key in ("cacheControl", "mimetype") if key in given}


async def _probe_move(call: Call, source: _Place, change: dict[str, Any]) -> None:
    """Ask the policies by really moving the row as the caller, and rolling back."""
    try:
        async with call.transaction() as connection:
            await objects.existing(connection, *source)
            await objects.update(connection, *source, change)
            raise uploads.Rollback
    except uploads.Rollback:
        return


async def _copy_bytes(call: Call, source: _Place, row: objects.Row, new_version: str) -> dict[str, Any]:
    """The metadata that are the copy's own."""
    try:
        md5 = await call.files.copy(row["version"], new_version)
    except (faults.Fault, ValueError):  # a version that is no UUID is of a row that was written past Storage
        async with call.as_service.transaction() as connection:
            now = await objects.existing(connection, *source)
        raise faults.bytes_missing() if now["version"] == row["version"] else _Overwritten from None
    return {"eTag": uploads.etag(md5), "lastModified": objects.timestamp(datetime.now(UTC))}
