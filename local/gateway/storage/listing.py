"""Listing one folder of a bucket: its folders, then its objects."""

from __future__ import annotations

from typing import Any

from psycopg import sql
from starlette.responses import JSONResponse, Response

from local.gateway.storage import faults, uploads
from local.gateway.storage.call import Call

SORTABLE = ("name", "created_at", "updated_at", "last_accessed_at")
ORDERS = {"asc": sql.SQL("asc"), "desc": sql.SQL("desc")}
STAMPS = ("updated_at", "created_at", "last_accessed_at")

# `tail` is what follows the folder's own path; a name that goes on after a slash is a folder, told once.
STATEMENT = """
with inside as (
    select *, substr(name, length(%(prefix)s) + 1) as tail from storage.objects
    where bucket_id = %(bucket)s and starts_with(name, %(prefix)s)
), entries as (
    select 0 as rank, split_part(tail, '/', 1) as entry, null::uuid as id, null::timestamptz as updated_at,
        null::timestamptz as created_at, null::timestamptz as last_accessed_at, null::jsonb as metadata
    from inside where strpos(tail, '/') > 0 group by 2
    union all
    select 1, tail, id, updated_at, created_at, last_accessed_at, metadata
    from inside where strpos(tail, '/') = 0
)
select entry as name, id, updated_at, created_at, last_accessed_at, metadata from entries
where entry ilike %(search)s order by rank, {column} {order}, entry limit %(limit)s offset %(offset)s
"""


async def list_folder(call: Call) -> Response:
    """POST /object/list/{bucket} {prefix, limit, offset, sortBy, search}: what the caller may see."""
    body = await call.body()
    sort = body.get("sortBy") or {}
    column, order = sort.get("column") or "name", sort.get("order") or "asc"
    if column not in SORTABLE or order not in ORDERS:
        raise faults.invalid_body(f"body/sortBy must name one of {', '.join(SORTABLE)} and asc or desc")
    statement = sql.SQL(STATEMENT).format(
        column=sql.Identifier("entry" if column == "name" else column), order=ORDERS[order]
    )
    async with call.transaction() as connection:
        cursor = await connection.execute(statement, _parameters(call, body))
        return JSONResponse([_presentable(row) for row in await cursor.fetchall()])


def _parameters(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    prefix, search = str(body.get("prefix") or "").strip("/"), str(body.get("search") or "")
    escaped = search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return {
        "bucket": call.bucket,
        "prefix": f"{prefix}/" if prefix else "",
        "search": f"{escaped}%",
        "limit": _count(body, "limit", 100),
        "offset": _count(body, "offset", 0),
    }


def _count(body: dict[str, Any], key: str, default: int) -> int:
    value = body.get(key, default)
    if not isinstance(value, int) or value < 0:
        raise faults.invalid_body(f"body/{key} must be integer")
    return value


def _presentable(row: dict[str, Any]) -> dict[str, Any]:
    stamps = {key: row[key] and uploads.timestamp(row[key]) for key in STAMPS}
    return row | stamps | {"id": row["id"] and str(row["id"])}
