"""What narrows a search: bucket, path, kind of file, size, date, owner and metadata."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared import checks
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
        if key not in KINDS:
            raise InvalidFilter(f"There is no filter {key!r:.100}. Expected: {', '.join(KEYS)}.", value=key)
        KINDS[key].check(f"filter.{key}", wanted)
    return dict(value)


def from_text(key: str, texts: list[str]) -> Any:
    """A form field's values in JSON's type; what doesn't parse stays text, and `parse` refuses it."""
    kind = KINDS.get(key, TEXT)
    if kind.is_list:
        return texts
    if len(texts) != 1:
        raise InvalidFilter(f"{key} is given {len(texts)} times. Give it once.", value=key)
    if not kind.is_json:
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


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A filter's type: its check, and how a form writes it (as text, if nothing else is said)."""

    check: Callable[[str, Any], None]
    is_list: bool = False  # its field may be repeated
    is_json: bool = False  # its field is a number or an object


TEXT = Kind(check=_text)
TEXTS = Kind(check=_texts, is_list=True)
BYTES = Kind(check=_bytes, is_json=True)
TIMESTAMP = Kind(check=_time)
METADATA = Kind(check=_metadata, is_json=True)

KINDS = {
    "bucket": TEXT,
    "prefix": TEXT,
    "mime_type": TEXTS,
    "min_bytes": BYTES,
    "max_bytes": BYTES,
    "uploaded_after": TIMESTAMP,
    "uploaded_before": TIMESTAMP,
    "owner": TEXT,
    "metadata": METADATA,
}
KEYS = tuple(KINDS)
