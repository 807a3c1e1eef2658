"""The buckets."""

from __future__ import annotations

import re
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from starlette.responses import JSONResponse, Response

from local.gateway.database import Connection
from local.gateway.storage import faults, objects
from local.gateway.storage.body import Body
from local.gateway.storage.call import Call

COLUMNS: LiteralString = (
    "id, name, owner, public, file_size_limit, allowed_mime_types, created_at, updated_at"
)
MAX_BYTES = 50 * 1024 * 1024  # a file's limit in a free project and in `supabase start`
VALID_NAME = re.compile(r"(\w|[!\-.*'() &$@=;:+,?])+", re.ASCII)
LONGEST_NAME, LONGEST_TYPE = 100, 1000
UNITS = {"gb": 10**9, "mb": 10**6, "kb": 10**3, "b": 1}
SIZE = re.compile(r"(\d+(?:\.\d+)?)(gb|mb|kb|b)", re.IGNORECASE)
MIME_TYPE = re.compile(r"[a-zA-Z0-9\-+.]+/[a-zA-Z0-9\-+.]+(;\s*charset=[a-zA-Z0-9\-]+)?|.*\*")
CHANGEABLE = ("public", "file_size_limit", "allowed_mime_types")


async def find_bucket(call: Call, bucket: str) -> dict[str, Any]:
    """The bucket's row; a fault where the caller sees none."""
    async with call.transaction() as connection:
        return await _existing(connection, bucket)


async def list_all(call: Call) -> Response:
    """GET /bucket."""
    async with call.transaction() as connection:
        cursor = await connection.execute(f"select {COLUMNS}, type from storage.buckets order by name")
        return JSONResponse([objects.presentable(row) for row in await cursor.fetchall()])


async def get(call: Call) -> Response:
    """GET /bucket/{bucket}."""
    return JSONResponse(objects.presentable(await find_bucket(call, call.bucket)))


async def create(call: Call) -> Response:
    """POST /bucket {id, name, public, file_size_limit, allowed_mime_types}."""
    body = await call.body()
    body.require("name")
    name = body.text("name")
    if len(name) > LONGEST_NAME or name != name.strip() or not VALID_NAME.fullmatch(name):
        raise faults.invalid_bucket_name()
    named = {"id": body.text("id") or name, "name": name}
    values = {**named, **_fields(body), **objects.owned_by(call.caller)}
    statement = sql.SQL("insert into storage.buckets ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join([sql.Placeholder()] * len(values)),
    )
    async with call.transaction() as connection:
        try:
            await connection.execute(statement, list(values.values()))
        except psycopg.errors.UniqueViolation as error:
            raise faults.duplicate("BucketAlreadyExists") from error
    return JSONResponse({"name": name})


async def update(call: Call) -> Response:
    """PUT /bucket/{bucket}: fields that are not given stay as they are."""
    body = await call.body()
    if not any(field in body for field in CHANGEABLE):
        missing = ", ".join(f"body must have required property '{field}'" for field in CHANGEABLE)
        raise faults.invalid_body(f"{missing}, body must match a schema in anyOf")
    values = _fields(body)
    changes = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(key)) for key in values)
    async with call.transaction() as connection:
        cursor = await connection.execute(
            sql.SQL("update storage.buckets set {} where id = %s").format(changes),
            [*values.values(), call.bucket],
        )
        if cursor.rowcount == 0:
            raise faults.no_such_bucket()
    return JSONResponse({"message": "Successfully updated"})


async def delete(call: Call) -> Response:
    """DELETE /bucket/{bucket}: an empty one."""
    async with call.as_service.transaction() as connection:
        await _existing(connection, call.bucket)
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


def _fields(body: Body) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "public" in body:
        fields["public"] = body.flag("public")
    if "file_size_limit" in body:
        fields["file_size_limit"] = _bytes(body)
    if "allowed_mime_types" in body:
        fields["allowed_mime_types"] = _mime_types(body)
    return fields


def _bytes(body: Body) -> int | None:
    """10485760, "10485760" and "10MB" all say how large a file may be; null lifts the limit."""
    if body.values["file_size_limit"] is None:
        return None
    text = body.text("file_size_limit")
    match = SIZE.fullmatch(text)
    if not (match or text.isdecimal()):
        raise faults.invalid_body("body/file_size_limit must be a number of bytes, or such as 20MB")
    size = int(float(match[1]) * UNITS[match[2].lower()]) if match else int(text)
    if size > MAX_BYTES:
        raise faults.too_large()
    return size


def _mime_types(body: Body) -> list[str] | None:
    """Types such as image/png, image/* and *; null and no type at all allow every one."""
    if body.values["allowed_mime_types"] is None:
        return None
    types = [kind for kind in body.texts("allowed_mime_types") if kind]
    for kind in types:
        if len(kind) > LONGEST_TYPE or not MIME_TYPE.fullmatch(kind):
            raise faults.invalid_mime_type(kind)
    return types
