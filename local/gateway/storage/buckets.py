"""The buckets."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from starlette.responses import JSONResponse, Response

from local.gateway.database import Connection
from local.gateway.storage import faults, objects
from local.gateway.storage.call import Call

COLUMNS: LiteralString = (
    "id, name, owner, public, type, file_size_limit, allowed_mime_types, created_at, updated_at"
)
VALID_NAME = re.compile(r"(\w|[!\-.*'() &$@=;:+,?])+", re.ASCII)
UNITS = {"gb": 10**9, "mb": 10**6, "kb": 10**3, "b": 1}
SIZE = re.compile(r"(\d+(?:\.\d+)?)(gb|mb|kb|b)", re.IGNORECASE)


async def find_bucket(call: Call, bucket: str) -> dict[str, Any]:
    """The bucket's row; a fault where the caller sees none."""
    async with call.transaction() as connection:
        return await _existing(connection, bucket)


async def list_all(call: Call) -> Response:
    """GET /bucket."""
    async with call.transaction() as connection:
        cursor = await connection.execute(f"select {COLUMNS} from storage.buckets order by name")
        return JSONResponse([_presentable(row) for row in await cursor.fetchall()])


async def get(call: Call) -> Response:
    """GET /bucket/{bucket}."""
    return JSONResponse(_presentable(await find_bucket(call, call.bucket)))


async def create(call: Call) -> Response:
    """POST /bucket {id, name, public, file_size_limit, allowed_mime_types}."""
    body = await call.body()
    name = body.get("name")
    if not isinstance(name, str):
        raise faults.invalid_body("body must have required property 'name'")
    identifier = body.get("id") or name
    if not isinstance(identifier, str) or not VALID_NAME.fullmatch(identifier):
        raise faults.invalid_bucket_name()
    values = {"id": identifier, "name": name, **_fields(body), **objects.owned_by(call.caller)}
    statement = sql.SQL("insert into storage.buckets ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join([sql.Placeholder()] * len(values)),
    )
    async with call.transaction() as connection:
        try:
            await connection.execute(statement, list(values.values()))
        except psycopg.errors.UniqueViolation as error:
            raise faults.duplicate("BucketAlreadyExists") from error
    return JSONResponse({"name": identifier})


async def update(call: Call) -> Response:
    """PUT /bucket/{bucket}: what is not given stays as it is."""
    values = _fields(await call.body())
    async with call.transaction() as connection:
        await _existing(connection, call.bucket)
        if values:
            changes = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(key)) for key in values)
            cursor = await connection.execute(
                sql.SQL("update storage.buckets set {} where id = %s").format(changes),
                [*values.values(), call.bucket],
            )
            if cursor.rowcount == 0:
                raise faults.no_such_bucket()
    return JSONResponse({"message": "Successfully updated"})


async def delete(call: Call) -> Response:
    """DELETE /bucket/{bucket}: an empty one."""
    await find_bucket(call, call.bucket)
    async with call.as_service.transaction() as connection:
        cursor = await connection.execute(
            "select 1 from storage.objects where bucket_id = %s limit 1", [call.bucket]
        )
        if await cursor.fetchone():
            raise faults.bucket_not_empty()
    async with call.transaction() as connection:
        cursor = await connection.execute("delete from storage.buckets where id = %s", [call.bucket])
        if cursor.rowcount == 0:
            raise faults.no_such_bucket()
    return JSONResponse({"message": "Successfully deleted"})


async def _existing(connection: Connection, bucket: str) -> dict[str, Any]:
    cursor = await connection.execute(f"select {COLUMNS} from storage.buckets where id = %s", [bucket])
    if row := await cursor.fetchone():
        return row
    raise faults.no_such_bucket()


def _fields(body: dict[str, Any]) -> dict[str, Any]:
    fields = {key: body[key] for key in ("public", "allowed_mime_types") if body.get(key) is not None}
    if "file_size_limit" in body:
        fields["file_size_limit"] = _bytes(body["file_size_limit"])
    return fields


def _bytes(limit: object) -> int | None:
    """10485760, "10485760" and "10MB" all say how large a file may be; null lifts the limit."""
    if limit is None:
        return None
    if isinstance(limit, int) or str(limit).isdecimal():
        return int(str(limit))
    if match := SIZE.fullmatch(str(limit)):
        return int(float(match[1]) * UNITS[match[2].lower()])
    message = "Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B"
    raise faults.Fault(400, "InvalidRequest", message)


def _presentable(row: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
    return shown | {"owner": str(row["owner"] or "")}
