"""Listing a bucket page by page (list-v2): all of it or, with a delimiter, one folder, by whole paths."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from starlette.responses import JSONResponse, Response

from local.gateway.storage import faults, objects
from local.gateway.storage.body import Body
from local.gateway.storage.call import Call
from local.gateway.storage.listing import ORDERS, sorting

SORTABLE = ("name", "created_at", "updated_at")
MOST = 1000
CURSOR_PARTS = {"l": "place", "o": "order", "c": "column", "a": "time"}

INSIDE = "select * from storage.objects where bucket_id = %(bucket)s and starts_with(name, %(prefix)s)"
ALL = f"select *, name as place from ({INSIDE}) as inside"
# A folder is as old as its first object where entries are sorted by time; else it has no times.
FOLDER = f"""
with inside as (
    select *, strpos(substr(name, length(%(prefix)s) + 1), '/') as slash from ({INSIDE}) as inside
), folders as (
    select left(name, length(%(prefix)s) + slash) as place, min(created_at) as created_at
    from inside where slash > 0 group by 1
)
select place, rtrim(place, '/') as name, null::uuid as id,
    case when {{by_time}} then created_at end as updated_at,
    case when {{by_time}} then created_at end as created_at,
    null::timestamptz as last_accessed_at, null::jsonb as metadata
from folders
union all
select name, name, id, updated_at, created_at, last_accessed_at, metadata from inside where slash = 0
"""
STATEMENT = """
select place, name, id, updated_at, created_at, last_accessed_at, metadata from ({entries}) as entries
where {after} order by {columns} limit %(limit)s
"""


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Where a page begins: after the entry at `place`, in a listing sorted like this."""

    place: str = ""
    order: str = "asc"
    column: str = "name"
    time: str = ""

    def __str__(self) -> str:
        lines = [f"{key}:{value}" for key, part in CURSOR_PARTS.items() if (value := getattr(self, part))]
        return base64.b64encode("\n".join(lines).encode()).decode()


async def list_page(call: Call) -> Response:
    """POST /object/list-v2/{bucket} {prefix, limit, cursor, with_delimiter, sortBy}."""
    body = await call.body()
    limit = min(body.number("limit", MOST, least=1), MOST)
    prefix, in_folder, cursor = body.text("prefix"), body.flag("with_delimiter"), _cursor(body)
    parameters = {
        "bucket": call.bucket,
        "prefix": prefix,
        "place": cursor.place,
        "time": cursor.time,
        "limit": limit + 1,
    }
    async with call.transaction() as connection:
        rows = await (await connection.execute(_statement(cursor, in_folder), parameters)).fetchall()
    page = rows[:limit]
    entries = [_presentable(row, prefix if in_folder else None) for row in page]
    return JSONResponse(
        {
            "hasNext": len(rows) > limit,
            **(_next(cursor, page[-1]) if len(rows) > limit else {}),
            "folders": [entry for entry in entries if entry["id"] is None],
            "objects": [entry for entry in entries if entry["id"] is not None],
        }
    )


def _cursor(body: Body) -> Cursor:
    column, order = sorting(body, SORTABLE)
    token = body.text("cursor")
    return _decoded(token) if token else Cursor(order=order, column=column)


def _decoded(token: str) -> Cursor:
    try:
        lines = base64.b64decode(token).decode().split("\n")
        cursor = Cursor(**{CURSOR_PARTS[key]: value for key, value in (line.split(":", 1) for line in lines)})
    except (ValueError, KeyError):
        raise faults.invalid_parameter("continuation token") from None
    if cursor.order not in ORDERS or cursor.column not in SORTABLE:
        raise faults.invalid_parameter("continuation token")
    return cursor


def _statement(cursor: Cursor, in_folder: bool) -> sql.Composed:
    by_time, order = cursor.column != "name", ORDERS[cursor.order]
    column = sql.SQL("date_trunc('milliseconds', {})").format(sql.Identifier(cursor.column))
    key = sql.SQL('{}, place collate "C"').format(column) if by_time else sql.SQL('place collate "C"')
    last = sql.SQL("%(time)s::timestamptz, %(place)s" if by_time else "%(place)s")
    beyond = sql.SQL(">" if cursor.order == "asc" else "<")
    after = sql.SQL("({}) {} ({})").format(key, beyond, last) if cursor.place else sql.SQL("true")
    time_order: Any = sql.SQL("{} {}, ").format(column, order) if by_time else sql.SQL("")
    return sql.SQL(STATEMENT).format(
        entries=sql.SQL(FOLDER).format(by_time=sql.Literal(by_time)) if in_folder else sql.SQL(ALL),
        after=after,
        columns=sql.SQL('{}place collate "C" {}').format(time_order, order),
    )


def _next(cursor: Cursor, last: objects.Row) -> dict[str, str]:
    time = objects.timestamp(last[cursor.column]) if cursor.column != "name" else ""
    following = Cursor(place=last["place"], order=cursor.order, column=cursor.column, time=time)
    return {"nextCursor": str(following), "nextCursorKey": last["name"]}


def _presentable(row: objects.Row, prefix: str | None) -> dict[str, Any]:
    """An entry; in a folder also its `key`, the part of its path that follows the folder's."""
    shown = objects.presentable({name: value for name, value in row.items() if name != "place"})
    if prefix is None:
        return shown
    key = row["name"].split("/")[prefix.count("/")]
    return {"key": key, **shown, "name": row["place"]}
