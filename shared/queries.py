"""What can be asked for: reading and checking a query, whichever way it was sent."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidQuery

FIELDS = ("text", "image", "like", "unlike", "limit", "offset", "min_similarity", "filter")
FILTERS = ("bucket", "prefix")
DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_OFFSET = 800  # with limit and examples, what match_documents returns at most: 1000
MAX_TEXT = 1000  # characters
MAX_GIVEN = 32  # texts, images, like and unlike together
MAX_IMAGES = 8  # of those

Example = int | str  # a document's id, or an object as `bucket/path` or `path`


@dataclass(frozen=True, kw_only=True)
class Query:
    """A checked query."""

    texts: tuple[str, ...] = ()
    images: tuple[bytes, ...] = ()  # the files, not decoded yet
    like: tuple[Example, ...] = ()
    unlike: tuple[Example, ...] = ()
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    min_similarity: float | None = None  # None: the database's default
    bucket: str | None = None
    prefix: str | None = None


def from_json(body: bytes) -> Query:
    """The query in a JSON body; `image` is base64. text, image, like and unlike take one or a list."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidQuery('The body isn\'t JSON. Expected an object like {"text": "a castle"}.') from error
    if not isinstance(fields, dict):
        raise InvalidQuery('The body is JSON, but no object. Expected one like {"text": "a castle"}.')
    return parse(fields, [_from_base64(image) for image in _several(fields.pop("image", None))])


def from_form(form: Mapping[str, Sequence[str]], images: Sequence[bytes]) -> Query:
    """The query in form fields or a query string: numbers as text, `like` repeated, `filter` as JSON or as
    the fields `bucket` and `prefix`. A `like` of digits alone is an id."""
    fields: dict[str, Any] = {}
    for name, values in form.items():
        if name in ("like", "unlike"):
            fields[name] = [int(value) if value.isdecimal() else value for value in values]
        elif name == "text":
            fields[name] = list(values)
        elif len(values) != 1:
            raise InvalidQuery(f"{name} is given {len(values)} times. Give it once.", value=name)
        elif name in FILTERS:
            fields.setdefault("filter", {})[name] = values[0]
        else:
            fields[name] = _from_text(name, values[0])
    return parse(fields, images)


def parse(fields: Mapping[str, Any], images: Sequence[bytes] = ()) -> Query:
    """The query with these fields, in JSON's types; InvalidQuery names the first that doesn't fit."""
    _refuse_unknown(fields, FIELDS, "field")
    if "image" in fields:
        raise InvalidQuery("image must be a file. Send it as multipart/form-data, or as base64 in JSON.")
    narrow = _filter(fields.get("filter"))
    query = Query(
        texts=tuple(_text(text) for text in _several(fields.get("text"))),
        images=tuple(images),
        like=_examples("like", fields.get("like")),
        unlike=_examples("unlike", fields.get("unlike")),
        limit=_whole("limit", fields.get("limit"), 1, MAX_LIMIT, DEFAULT_LIMIT),
        offset=_whole("offset", fields.get("offset"), 0, MAX_OFFSET, 0),
        min_similarity=_similarity(fields.get("min_similarity")),
        bucket=narrow.get("bucket"),
        prefix=narrow.get("prefix"),
    )
    _check_count(query)
    return query


def _check_count(query: Query) -> None:
    count = len(query.texts) + len(query.images) + len(query.like) + len(query.unlike)
    if count == 0:
        raise InvalidQuery()
    if count > MAX_GIVEN:
        raise InvalidQuery(
            f"text, image, like and unlike are {count} in all. At most {MAX_GIVEN} are taken.", value=count
        )
    if len(query.images) > MAX_IMAGES:
        raise InvalidQuery(f"There are {len(query.images)} images. At most {MAX_IMAGES} are taken.")


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _refuse_unknown(fields: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for name in fields:
        if name not in known:
            raise InvalidQuery(f"There is no {what} {name!r:.100}. Expected: {', '.join(known)}.", value=name)


def _from_base64(image: Any) -> bytes:
    if not isinstance(image, str):
        raise _wrong("image", image, "a base64 string")
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery(f"image isn't valid base64: {error}. Send the file's bytes in base64.") from error


def _from_text(name: str, text: str) -> Any:
    """A form field's value in JSON's type; what doesn't parse stays text, and `parse` refuses it."""
    if name not in ("limit", "offset", "min_similarity", "filter"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong("text", value, "some words")
    if len(value) > MAX_TEXT:
        raise InvalidQuery(
            f"text has {len(value)} characters. At most {MAX_TEXT} are taken.", value=len(value)
        )
    return _storable("text", value.strip())


def _examples(name: str, value: Any) -> tuple[Example, ...]:
    values = _several(value)
    for example in values:
        if isinstance(example, bool) or not isinstance(example, int | str) or example == "":
            raise _wrong(name, example, "an id, or an object as path or bucket/path")
        if isinstance(example, int) and not 0 < example < 2**63:
            raise _wrong(name, example, "an id from a search's results")
        _storable(name, str(example))
    return tuple(dict.fromkeys(values))


def _whole(name: str, value: Any, least: int, most: int, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(name, value, f"a whole number from {least} to {most}")
    return value


def _similarity(value: Any) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not -1 <= value <= 1:
        raise _wrong("min_similarity", value, "a number from -1 to 1")
    return float(value)


def _filter(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong("filter", value, "an object")
    _refuse_unknown(value, FILTERS, "filter")
    for name, text in value.items():
        if not isinstance(text, str) or not text:
            raise _wrong(f"filter.{name}", text, "some text")
        _storable(f"filter.{name}", text)
    return value


def _storable(name: str, text: str) -> str:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidQuery(f"{name} holds a character that no text in a database can hold.")
    return text


def _wrong(name: str, value: Any, expected: str) -> InvalidQuery:
    return InvalidQuery(f"{name} is {value!r:.100}. Expected {expected}.", value=value)
