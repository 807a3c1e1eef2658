"""Deleting objects, one, many, or all of a bucket."""

from __future__ import annotations

import asyncio
import logging

from starlette.responses import JSONResponse, Response

from local.gateway.identity import SERVICE
from local.gateway.storage import faults, objects, uploads
from local.gateway.storage.buckets import find_bucket
from local.gateway.storage.call import Call

BATCH = 500
EMPTYING = "Empty bucket has been queued. Completion may take up to an hour."

log = logging.getLogger(__name__)


async def remove(call: Call) -> Response:
    """DELETE /object/{bucket}/{name}."""
    async with call.as_service.transaction() as connection:
        await objects.existing(connection, call.bucket, call.name, for_update=True)
    if not await _delete(call, [call.name]):
        raise faults.access_denied("Access denied")
    return JSONResponse({"message": "Successfully deleted"})


async def remove_many(call: Call) -> Response:
    """DELETE /object/{bucket} {prefixes}: by full name; missing or forbidden ones are left out silently."""
    body = await call.body()
    body.require("prefixes")
    names = body.texts("prefixes", least=1)
    deleted: list[objects.Row] = []
    for start in range(0, len(names), BATCH):
        deleted += await _delete(call, names[start : start + BATCH])
    return JSONResponse([objects.presentable(row) for row in deleted])


async def empty(call: Call) -> Response:
    """POST /bucket/{bucket}/empty: answers at once and deletes afterwards; with the secret key alone."""
    if call.caller.role != SERVICE.role:
        raise faults.access_denied("Access denied: Invalid role", http=403)
    await find_bucket(call, call.bucket)
    tasks: set[asyncio.Task[None]] = call.request.app.state.tasks
    task = asyncio.create_task(_empty(call))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return JSONResponse({"message": EMPTYING})


async def _empty(call: Call) -> None:
    try:
        while names := await _some_names(call):
            if not await _delete(call, names):
                break  # objects that the caller may see but not delete
    except faults.Fault:
        log.exception("Bucket %s wasn't emptied", call.bucket)


async def _some_names(call: Call) -> list[str]:
    async with call.transaction() as connection:
        cursor = await connection.execute(
            "select name from storage.objects where bucket_id = %s limit %s", [call.bucket, BATCH]
        )
        return [row["name"] for row in await cursor.fetchall()]


async def _delete(call: Call, names: list[str]) -> list[objects.Row]:
    """Rows first, as the caller; the bytes when that is committed."""
    async with call.transaction() as connection:
        deleted = await objects.delete(connection, call.bucket, names)
    for row in deleted:
        await uploads.discard(call, row["version"])
    return deleted
