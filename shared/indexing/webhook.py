"""The bodies that embed_on_upload is called with: hints that something changed, never taken for the truth."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidPayload

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
TYPES = ("INSERT", "UPDATE", "DELETE", "KICK")


@dataclass(frozen=True, kw_only=True)
class ObjectChanged:
    """An object was uploaded, overwritten or moved."""

    object_id: str
    wait: bool = True  # for its result


@dataclass(frozen=True, kw_only=True)
class ObjectDeleted:
    """An object was deleted. Its documents went in the same transaction."""

    object_id: str
    bucket_id: str | None
    name: str | None


@dataclass(frozen=True, kw_only=True)
class Kick:
    """Work off the due jobs: up to so many, or all of them where nobody waits for results."""

    limit: int
    wait: bool = True


Event = ObjectChanged | ObjectDeleted | Kick


def parse(body: bytes) -> Event:
    """The event in a webhook's body; InvalidPayload names the mistake. Unknown keys are no error."""
    payload = _object(body)
    kind = payload.get("type")
    if kind not in TYPES:
        raise InvalidPayload(f"type is {kind!r:.100}. Expected one of: {', '.join(TYPES)}.", value=kind)
    wait = _wait(payload.get("wait", True))
    if kind == "KICK":
        return Kick(limit=_limit(payload.get("limit", DEFAULT_LIMIT)), wait=wait)
    _check_table(payload)
    if kind == "DELETE":
        row = _row(payload, "old_record")
        return ObjectDeleted(object_id=_id(row), bucket_id=row.get("bucket_id"), name=row.get("name"))
    return ObjectChanged(object_id=_id(_row(payload, "record")), wait=wait)


def _object(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidPayload(
            "The body isn't JSON. Expected an object {type, table, schema, record, old_record}."
        ) from error
    if not isinstance(payload, dict):
        raise InvalidPayload(
            "The body is JSON, but no object. Expected {type, table, schema, record, old_record}."
        )
    return payload


def _limit(limit: Any) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidPayload(
            f"limit is {limit!r:.100}. Expected a whole number from 1 to {MAX_LIMIT}.", value=limit
        )
    return limit


def _wait(wait: Any) -> bool:
    if not isinstance(wait, bool):
        raise InvalidPayload(f"wait is {wait!r:.100}. Expected true or false.", value=wait)
    return wait


def _check_table(payload: dict[str, Any]) -> None:
    found = f"{payload.get('schema')}.{payload.get('table')}"
    if found != "storage.objects":
        raise InvalidPayload(
            f"This webhook is for {found:.100}. Make it for the table objects in the schema storage.",
            value=found,
        )


def _row(payload: dict[str, Any], key: str) -> dict[str, Any]:
    row = payload.get(key)
    if not isinstance(row, dict):
        raise InvalidPayload(
            f"{key} is {row!r:.100}. Expected the row of storage.objects for {payload['type']}."
        )
    return row


def _id(row: dict[str, Any]) -> str:
    try:
        return str(uuid.UUID(row["id"]))
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        found = row.get("id")
        raise InvalidPayload(f"The row's id is {found!r:.100}. Expected a uuid.", value=found) from error
