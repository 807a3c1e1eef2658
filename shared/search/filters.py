"""Filters of a search: bucket, path, kind of file, size, date, owner and metadata."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from shared.errors import InvalidFilter
from shared.images import mime_types
from shared.search.validation import (
    ABSENT,
    Body,
    Expected,
    is_storable,
    json_fields,
    json_or_text,
    refusal,
    single,
    storable,
    validated,
)

MAX_TEXT = 1000  # characters of one value
MAX_METADATA = 8192  # characters of JSON
MAX_DEPTH = 32
MAX_KINDS = 32
# ISO 8601 as Postgres reads it as well: no weeks, nothing without hyphens, no further from Greenwich.
TIME = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-](0\d|1[0-5]):[0-5]\d)?)?", re.ASCII
)


def _storable(value: str) -> str:
    return storable(value, error=InvalidFilter)


def _time(value: str) -> str:
    if not TIME.fullmatch(value):
        raise ValueError("no time")  # without the value: half a character can't be told
    datetime.fromisoformat(value)
    return value


def _mime_type(value: str) -> str:
    if value != mime_types.ANY and not mime_types.meant(value):
        expected = f"{mime_types.ANY} or one of {', '.join(mime_types.KNOWN)}"
        raise refusal(error=InvalidFilter, expected=expected)
    return value


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    for leaf, depth in _leaves(value):
        if depth > MAX_DEPTH:
            raise refusal(error=InvalidFilter, expected=f"at most {MAX_DEPTH} levels")
        if isinstance(leaf, str) and len(leaf) > MAX_METADATA:
            raise refusal(error=InvalidFilter, expected=f"at most {MAX_METADATA} characters of JSON")
        if isinstance(leaf, str) and not is_storable(leaf):
            raise refusal(error=InvalidFilter, expected="text that a database can hold", value=leaf)
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise refusal(error=InvalidFilter, expected="a finite number", value=leaf)
    if len(json.dumps(value)) > MAX_METADATA:
        raise refusal(error=InvalidFilter, expected=f"at most {MAX_METADATA} characters of JSON")
    return value


def _leaves(value: Any) -> Iterator[tuple[Any, int]]:
    """Each value that holds no other, empty objects and lists too, and its depth."""
    waiting = [(value, 0)]
    while waiting:  # not recursive: JSON may be nested deeper than calls
        one, depth = waiting.pop()
        inside = (
            [*one.keys(), *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else []
        )
        waiting += [(other, depth + 1) for other in inside]
        if not inside:
            yield one, depth


FilterText = Annotated[
    str,
    Field(min_length=1, max_length=MAX_TEXT),
    AfterValidator(_storable),
    Expected(f"some text of at most {MAX_TEXT} characters", InvalidFilter),
]
MimeType = Annotated[FilterText, AfterValidator(_mime_type)]
MimeTypes = Annotated[
    list[MimeType],
    Field(min_length=1, max_length=MAX_KINDS),
    Expected(f"1 to {MAX_KINDS} of them", InvalidFilter),
]
Size = Annotated[int, Field(ge=0, lt=2**63), Expected("a whole number of bytes", InvalidFilter)]
Share = Annotated[float, Field(ge=0, le=1), Expected("a number from 0 to 1", InvalidFilter)]
Time = Annotated[
    str,
    AfterValidator(_time),
    Expected("a time in ISO 8601, like 2026-05-30 or 2026-05-30T12:00:00Z", InvalidFilter),
]


def _is_list(value: Any) -> str:
    return "(several)" if isinstance(value, list) else "(one)"


class Filter(Body):
    """Each key narrows; None where it isn't given."""

    noun = "filter"
    error = InvalidFilter

    bucket: FilterText = Field(ABSENT, description="Only in this bucket.")
    prefix: FilterText = Field(ABSENT, description="Only names that begin so.")
    mime_type: Annotated[
        Annotated[MimeType, Tag("(one)")] | Annotated[MimeTypes, Tag("(several)")],
        Discriminator(_is_list),
    ] = Field(ABSENT, description="Only files of this kind, as found in their bytes.")
    min_bytes: Size = Field(ABSENT, description="Only files at least so large.")
    max_bytes: Size = Field(ABSENT, description="Only files at most so large.")
    uploaded_after: Time = Field(
        ABSENT, description="Only what was uploaded at this time or later: ISO 8601."
    )
    uploaded_before: Time = Field(ABSENT, description="Only what was uploaded before this time: ISO 8601.")
    min_shown: Share = Field(
        ABSENT, description="Only images of whose rows the file has at least this share: 1 for whole ones."
    )
    owner: FilterText = Field(ABSENT, description="Only what this user uploaded (owner_id).")
    metadata: Annotated[dict[str, Any], AfterValidator(_metadata), Expected("an object", InvalidFilter)] = (
        Field(
            ABSENT,
            description="Only objects whose user metadata contains this, of at most 4 KiB.",
        )
    )

    def given(self) -> dict[str, Any]:
        return _as_matched(self.model_dump(exclude_unset=True))


KEYS = tuple(Filter.model_fields)
JSON_KEYS = json_fields(Filter)


def parse(value: Any) -> dict[str, Any]:
    """The checked filter, as match_documents takes it; InvalidFilter names the key that doesn't fit."""
    return validated(Filter, value).given()


def _as_matched(checked: dict[str, Any]) -> dict[str, Any]:
    """The filter with each mime type by the name that documents have; without it where any is meant."""
    if "mime_type" not in checked:
        return checked
    given = checked["mime_type"]
    rest = {key: value for key, value in checked.items() if key != "mime_type"}
    named = mime_types.expanded(given if isinstance(given, list) else [given])
    return rest | ({"mime_type": named} if named else {})


def from_text(key: str, texts: list[str]) -> Any:
    """A form field's values in JSON's type."""
    if key == "mime_type":
        return texts
    text = single(key, texts, InvalidFilter)
    return json_or_text(text) if key in JSON_KEYS else text
