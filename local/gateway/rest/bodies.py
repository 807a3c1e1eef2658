"""The rows of a write's body: checked here and converted by Postgres, so that numbers keep their digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from local.gateway.rest import faults, json_texts

JSON = "application/json"
UNSUPPORTED = ("text/csv", "application/x-www-form-urlencoded")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of an insert; an update takes the first one's values."""

    json: str  # an array of objects
    objects: Sequence[dict[str, Any]]
    columns: tuple[str, ...]  # those to write: the wished ones, or the keys of every object


async def read(request: Request, columns: Sequence[str]) -> Rows:
    """The rows of the request, with the `columns` that it names; without any, all must have the same keys."""
    check_type(request)
    body = await request.body()
    try:
        found = json_texts.parse(body)
    except ValueError:
        raise faults.invalid_body() from None
    text = body.decode()
    is_list = isinstance(found, list)
    objects = found if is_list else [found]
    if not all(isinstance(row, dict) for row in objects):
        raise faults.invalid_body("All object keys must match" if is_list else "Empty or invalid json")
    if not columns and any(row.keys() != objects[0].keys() for row in objects):
        raise faults.invalid_body("All object keys must match")
    keys = columns or [key for row in objects[:1] for key in row]
    return Rows(json=text if is_list else f"[{text}]", objects=objects, columns=tuple(dict.fromkeys(keys)))


def check_type(request: Request) -> None:
    """A fault where the body is said to be no JSON."""
    told = request.headers.get("content-type", JSON)
    kind = told.split(";")[0].strip().lower()
    if kind in UNSUPPORTED:
        raise faults.unsupported("The content type", kind)
    if kind != JSON:
        raise faults.invalid_body(f"Content-Type not acceptable: {told}")
