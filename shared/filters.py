"""What narrows a search: bucket, path, kind of file, size, date, owner and metadata."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from shared import checks, mime_types
from shared.errors import InvalidFilter, InvalidQuery

MAX_TEXT = 1000  # characters of one value
MAX_METADATA = 8192  # characters of JSON
MAX_DEPTH = 32
MAX_KINDS = 32
# Of ISO 8601 what Postgres reads as well: no weeks, nothing without hyphens, no further from Greenwich.
TIME = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-](0\d|1[0-5]):[0-5]\d)?)?", re.ASCII
)


def parse(value: Any) -> dict[str, Any]:
    """The checked filter, as match_documents takes it; InvalidFilter names the key that doesn't fit."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong("filter", value, 'an object like {"bucket": "images"}')
    for key, wanted in value.items():
        if key not in CHECKS:
            raise InvalidFilter(f"There is no filter {key!r:.100}. Expected: {', '.join(KEYS)}.", value=key)
        CHECKS[key](f"filter.{key}", wanted)
    checked: dict[str, Any] = dict(value)
    if "mime_type" in checked:
        named = mime_types.expanded(_listed(checked.pop("mime_type")))
        checked |= {"mime_type": named} if named else {}
    return checked


def from_text(key: str, texts: list[str]) -> Any:
    """A form field's values in JSON's type; what doesn't parse stays text, and `parse` refuses it."""
    if key == "mime_type":
        return texts
    if len(texts) != 1:
        raise InvalidFilter(f"{key} is given {len(texts)} times. Give it once.", value=key)
    if key not in ("min_bytes", "max_bytes", "metadata"):
        return texts[0]
    try:
        return json.loads(texts[0])
    except (ValueError, RecursionError):
        return texts[0]


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not checks.is_storable(value):
        raise _wrong(name, value, f"some text of at most {MAX_TEXT} characters")


def _texts(name: str, value: Any) -> None:
    if not isinstance(value, list):
        return _text(name, value)
    if not 0 < len(value) <= MAX_KINDS:
        raise _wrong(name, value, f"1 to {MAX_KINDS} of them")
    for one in value:
        _text(name, one)


def _mime_types(name: str, value: Any) -> None:
    _texts(name, value)
    for one in _listed(value):
        if one != mime_types.ANY and not mime_types.meant(one):
            raise _wrong(name, one, f"{mime_types.ANY} or one of {', '.join(mime_types.KNOWN)}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _bytes(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise _wrong(name, value, "a whole number of bytes")


def _time(name: str, value: Any) -> None:
    try:
        if not TIME.fullmatch(value):
            raise ValueError(value)
        datetime.fromisoformat(value)
    except (ValueError, TypeError) as error:
        raise _wrong(name, value, "a time in ISO 8601, like 2026-05-30 or 2026-05-30T12:00:00Z") from error


def _metadata(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise _wrong(name, value, "an object")
    for leaf, depth in _leaves(value):
        if depth > MAX_DEPTH:
            raise _wrong(name, value, f"at most {MAX_DEPTH} levels")
        if isinstance(leaf, str) and not checks.is_storable(leaf):
            raise _wrong(name, leaf, "text that a database can hold")
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise _wrong(name, leaf, "a finite number")
    if len(json.dumps(value)) > MAX_METADATA:
        raise _wrong(name, value, f"at most {MAX_METADATA} characters of JSON")


def _leaves(value: Any) -> Iterator[tuple[Any, int]]:
    """Whatever holds nothing else, empty objects and lists too, and how deep it lies."""
    waiting = [(value, 0)]
    while waiting:  # not recursive: JSON may be nested deeper than calls
        one, depth = waiting.pop()
        inside = (
            [*one.keys(), *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else []
        )
        waiting += [(other, depth + 1) for other in inside]
        if not inside:
            yield one, depth


def _wrong(name: str, value: Any, expected: str) -> InvalidQuery:
    return checks.wrong(name, value, expected, InvalidFilter)


CHECKS: dict[str, Callable[[str, Any], None]] = {
    "bucket": _text,
    "prefix": _text,
    "mime_type": _mime_types,
    "min_bytes": _bytes,
    "max_bytes": _bytes,
    "uploaded_after": _time,
    "uploaded_before": _time,
    "owner": _text,
    "metadata": _metadata,
}
KEYS = tuple(CHECKS)
