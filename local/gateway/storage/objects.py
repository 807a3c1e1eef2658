"""The rows of storage.objects: the statements of the real server, one function each."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from local.gateway.database import Connection
from local.gateway.identity import Caller
from local.gateway.storage import faults

Row = dict[str, Any]
COLUMNS: LiteralString = (
    "id, name, bucket_id, owner, owner_id, version, metadata, user_metadata, created_at, updated_at, "
    "last_accessed_at"
)
LOCK_TIMEOUT = "5s"
MAX_NAME = 1024  # bytes: of a key in S3, the real server's usual back end

HEADER_VALUE = re.compile(r"[\x21-\x7e\xa1-\xff]+([ \t]+[\x21-\x7e\xa1-\xff]+)*")


async def find(connection: Connection, bucket: str, name: str, *, for_update: bool = False) -> Row | None:
    """The row, as far as the transaction's role may see it."""
    lock: LiteralString = " for update" if for_update else ""
    cursor = await connection.execute(
        f"select {COLUMNS} from storage.objects where name = %s and bucket_id = %s limit 1" + lock,
        [name, bucket],
    )
    return await cursor.fetchone()


async def existing(connection: Connection, bucket: str, name: str, *, for_update: bool = False) -> Row:
    """The row; a fault where there is none to be seen."""
    if row := await find(connection, bucket, name, for_update=for_update):
        return row
    raise faults.no_such_key()


async def find_names(connection: Connection, bucket: str, names: Sequence[str]) -> set[str]:
    """Those of `names` that the transaction's role may see."""
    cursor = await connection.execute(
        "select name from storage.objects where bucket_id = %s and name = any(%s)", [bucket, list(names)]
    )
    return {row["name"] for row in await cursor.fetchall()}


async def create(connection: Connection, values: Mapping[str, Any]) -> None:
    """A plain insert; a fault where the name is taken."""
    columns, places = _insertion(values)
    try:
        await connection.execute(
            sql.SQL("insert into storage.objects ({}) values ({})").format(columns, places), _adapt(values)
        )
    except psycopg.errors.UniqueViolation as error:
        raise faults.duplicate("KeyAlreadyExists") from error


async def upsert(connection: Connection, values: Mapping[str, Any]) -> Row:
    """Insert, or update the row that has this name; its id stays."""
    columns, places = _insertion(values)
    changes = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column))
        for column in values
        if column not in ("bucket_id", "name")
    )
    cursor = await connection.execute(
        sql.SQL(
            "insert into storage.objects ({}) values ({}) on conflict (name, bucket_id) do update set {} "
            "returning " + COLUMNS
        ).format(columns, places, changes),
        _adapt(values),
    )
    return _only(await cursor.fetchone())


async def update(connection: Connection, bucket: str, name: str, values: Mapping[str, Any]) -> Row:
    """Change the row; a fault where the transaction's role sees none."""
    changes = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in values)
    cursor = await connection.execute(
        sql.SQL(
            "update storage.objects set {} where bucket_id = %s and name = %s returning " + COLUMNS
        ).format(changes),
        [*_adapt(values), bucket, name],
    )
    return _only(await cursor.fetchone())


async def delete(connection: Connection, bucket: str, names: Sequence[str]) -> list[Row]:
    """Delete by name the objects that the transaction's role may delete, and return them."""
    cursor = await connection.execute(
        f"delete from storage.objects where bucket_id = %s and name = any(%s) returning {COLUMNS}",
        [bucket, list(names)],
    )
    return await cursor.fetchall()


async def lock(connection: Connection, bucket: str, name: str) -> None:
    """Wait until nobody else completes a change of this name; the lock lasts as long as the transaction."""
    set_timeout: LiteralString = "select set_config('lock_timeout', %s, true)"
    await connection.execute(set_timeout, [LOCK_TIMEOUT])
    try:
        await connection.execute(
            "select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{bucket}/{name}"]
        )
    except psycopg.errors.LockNotAvailable as error:
        raise faults.lock_timeout() from error
    await connection.execute(set_timeout, ["0"])


def is_sendable(value: object) -> bool:
    """Whether a download can tell this as a header; nothing at all needn't be told."""
    return not value or (isinstance(value, str) and bool(HEADER_VALUE.fullmatch(value)))


def owned_by(caller: Caller) -> dict[str, Any]:
    """The owner columns: the deprecated one holds UUIDs only; neither is set where there is no user."""
    if caller.user_id is None:
        return {}
    owner: dict[str, Any] = {"owner_id": caller.user_id}
    with contextlib.suppress(ValueError):
        owner["owner"] = UUID(caller.user_id)
    return owner


def presentable(row: Row) -> dict[str, Any]:
    """A row, of an object or a bucket, as JSON has it: nobody as owner is an empty text."""
    shown = {column: _presentable(value) for column, value in row.items()}
    return shown | {owner: shown[owner] or "" for owner in ("owner", "owner_id") if owner in shown}


def _presentable(value: object) -> object:
    match value:
        case datetime():
            return timestamp(value)
        case UUID():
            return str(value)
    return value


def timestamp(moment: datetime) -> str:
    """As JavaScript writes it: milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _insertion(values: Mapping[str, Any]) -> tuple[sql.Composed, sql.Composed]:
    columns = sql.SQL(", ").join(map(sql.Identifier, values))
    return columns, sql.SQL(", ").join([sql.Placeholder()] * len(values))


def _adapt(values: Mapping[str, Any]) -> list[Any]:
    if len(values.get("name", "").encode()) > MAX_NAME:
        raise faults.key_too_long()
    metadata = values.get("metadata") or {}
    if not is_sendable(metadata.get("mimetype", "")):
        raise faults.invalid_mime_type(metadata["mimetype"])
    if not is_sendable(metadata.get("cacheControl", "")):
        raise faults.invalid_body("body/cacheControl must be the value of a header")
    return [Jsonb(value) if isinstance(value, dict) else value for value in values.values()]


def _only(row: Row | None) -> Row:
    if row is None:
        raise faults.no_such_key()
    return row
