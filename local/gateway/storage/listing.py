"""Listing one folder of a bucket, by offset: folders and files mixed, ignoring case, as storage.search does.

By time, its folders come first.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql
from starlette.responses import JSONResponse, Response

from local.gateway.storage import objects
from local.gateway.storage.body import Body
from local.gateway.storage.call import Call

SORTABLE = ("name", "created_at", "updated_at", "last_accessed_at")
ORDERS = {"asc": sql.SQL("asc"), "desc": sql.SQL("desc")}
MOST = 1500

# A name that goes on after a slash is in a folder, which is told once. `place` is the key of their order.
STATEMENT = """
with inside as (
    select *, strpos(substr(name, length(%(start)s) + 1), '/') as slash from storage.objects
    where bucket_id = %(bucket)s and starts_with(lower(name), lower(%(start)s))
), folders as (
    select left(name, length(%(start)s) + slash) as place, name from inside where slash > 0
), told as (
    select distinct on ({same}) true as is_folder, rtrim(place, '/') as path, place, null::uuid as id,
        null::timestamptz as updated_at, null::timestamptz as created_at,
        null::timestamptz as last_accessed_at, null::jsonb as metadata
    from folders order by {same}, lower(name) collate "C" {order}
), entries as (
    select * from told
    union all
    select false, name, name, id, updated_at, created_at, last_accessed_at, metadata
    from inside where slash = 0
)
select substr(path, length(%(prefix)s) + 1) as name, id, updated_at, created_at, last_accessed_at, metadata
from entries order by {first} {order}, place collate "C" {order}
limit %(limit)s offset %(offset)s
"""


async def list_folder(call: Call) -> Response:
    """POST /object/list/{bucket} {prefix, limit, offset, sortBy, search}: objects that the caller sees."""
    body = await call.body()
    body.require("prefix")
    prefix = body.text("prefix")
    folder = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
    parameters = {
        "bucket": call.bucket,
        "prefix": folder,
        "start": folder + body.text("search"),
        "limit": min(body.number("limit", 100, least=1), MOST),
        "offset": body.number("offset", 0, least=0),
    }
    statement = _statement(*sorting(body, SORTABLE))
    async with call.transaction() as connection:
        cursor = await connection.execute(statement, parameters)
        return JSONResponse([objects.presentable(row) for row in await cursor.fetchall()])


def sorting(body: Body, columns: Sequence[str]) -> tuple[str, str]:
    """Which of `columns` to sort by, and in which order."""
    sort = body.part("sortBy")
    if "sortBy" in body:
        sort.require("column")
    return sort.choice("column", columns, "name"), sort.choice("order", ORDERS, "asc")


def _statement(column: str, order: str) -> sql.Composed:
    by_name, by_time = sql.SQL('lower(place) collate "C"'), sql.SQL("not is_folder, {}")
    return sql.SQL(STATEMENT).format(
        same=by_name if column == "name" else sql.SQL("place"),
        first=by_name if column == "name" else by_time.format(sql.Identifier(column)),
        order=ORDERS[order],
    )
