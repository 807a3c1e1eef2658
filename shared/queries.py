"""What can be asked for: reading and checking a query, whichever way it was sent."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared import filters
from shared.errors import InvalidLimit, InvalidQuery

FIELDS = (
    "text",
    "image",
    "like",
    "unlike",
    "strategy",
    "diversity",
    "collapse",
    "limit",
    "offset",
    "cursor",
    "min_similarity",
    "min_confidence",
    "best_confidence",
    "filter",
)
STRATEGIES = ("average", "best_score")
COLLAPSES = ("duplicates",)
CONFIDENCES = ("same", "strong", "related", "unrelated")
DEFAULT_CONFIDENCE = "related"  # what has nothing to do with the collection finds nothing
DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_OFFSET = 800  # with limit and examples, what match_documents returns at most: 1000
MAX_TEXT = 1000  # characters
MAX_GIVEN = 32  # texts, images, like and unlike together
MAX_IMAGES = 8  # of those
MIN_WEIGHT = 0.001  # of less, the database's single precision may keep nothing
MAX_WEIGHT = 1000
MAX_CURSOR = 1000  # characters

KINDS = ("id", "name", "text", "image")


@dataclass(frozen=True, kw_only=True)
class Example:
    """Something that results should be like, or unlike."""

    kind: str  # id or name of a stored image, text, or image: a file's bytes, not decoded yet
    value: Any  # int, str, str or bytes
    weight: float = 1.0
    field: str  # where it was given: text, image, like or unlike
    index: int  # and its place there, from 0


@dataclass(frozen=True, kw_only=True)
class Query:
    """A checked query."""

    like: tuple[Example, ...] = ()  # with texts and images
    unlike: tuple[Example, ...] = ()
    strategy: str = "average"
    diversity: float = 0.0  # 0: off, to 1
    collapse: str | None = None
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    cursor: str | None = None
    min_similarity: float | None = None  # None: the database's default
    min_confidence: str | None = None  # of each result; None: nothing is cut off
    # Of the best result, or nothing is found; None: whatever it is. By default only where all that is liked
    # may be new to the collection: a stored example is part of it, so what is nearest to it is an answer.
    best_confidence: str | None = DEFAULT_CONFIDENCE
    filter: Mapping[str, Any] = field(default_factory=dict)

    @property
    def examples(self) -> tuple[Example, ...]:
        return (*self.like, *self.unlike)


def from_json(body: bytes) -> Query:
    """The query in a JSON body; images are base64. text, image, like and unlike take one or a list."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidQuery('The body isn\'t JSON. Expected an object like {"text": "a castle"}.') from error
    if not isinstance(fields, dict):
        raise InvalidQuery('The body is JSON, but no object. Expected one like {"text": "a castle"}.')
    return parse(fields, [_from_base64("image", image) for image in _several(fields.pop("image", None))])


def from_form(form: Mapping[str, Sequence[str]], images: Sequence[bytes]) -> Query:
    """The query in form fields or a query string: numbers as text, `like` repeated, `filter` as JSON or its
    keys as fields. A `like` of digits alone is an id."""
    fields: dict[str, Any] = {}
    narrow: dict[str, Any] = {}
    for name, values in form.items():
        if name in ("like", "unlike"):
            fields[name] = [int(value) if _is_id(value) else value for value in values]
        elif name == "text":
            fields[name] = list(values)
        elif name in filters.KEYS:
            narrow[name] = filters.from_text(name, list(values))
        elif len(values) != 1:
            raise InvalidQuery(f"{name} is given {len(values)} times. Give it once.", value=name)
        else:
            fields[name] = _from_text(name, values[0])
    if narrow and "filter" in fields:
        raise InvalidQuery(
            f"{next(iter(narrow))} is given beside filter. Put it into filter.", value=[*narrow]
        )
    return parse(fields | ({"filter": narrow} if narrow else {}), images)


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 20  # Python reads no number of thousands of digits


def parse(fields: Mapping[str, Any], images: Sequence[bytes] = ()) -> Query:
    """The query with these fields, in JSON's types; InvalidQuery names the first that doesn't fit."""
    for name in fields:
        if name not in FIELDS:
            raise InvalidQuery(f"There is no field {name!r:.100}. Expected: {', '.join(FIELDS)}.", value=name)
    if "image" in fields:
        raise InvalidQuery("image must be a file. Send it as multipart/form-data, or as base64 in JSON.")
    like = (*_texts(fields.get("text")), *_files(images), *_examples("like", fields.get("like")))
    min_similarity = _number("min_similarity", fields.get("min_similarity"), -1, 1)
    query = Query(
        like=like,
        unlike=_examples("unlike", fields.get("unlike")),
        strategy=_choice("strategy", fields.get("strategy"), STRATEGIES) or STRATEGIES[0],
        diversity=_number("diversity", fields.get("diversity"), 0, 1) or 0.0,
        collapse=_choice("collapse", fields.get("collapse"), COLLAPSES),
        limit=_whole("limit", fields.get("limit"), 1, MAX_LIMIT, DEFAULT_LIMIT),
        offset=_whole("offset", fields.get("offset"), 0, MAX_OFFSET, 0),
        cursor=_cursor(fields.get("cursor"), fields.get("offset")),
        min_similarity=min_similarity,
        min_confidence=_choice("min_confidence", fields.get("min_confidence"), CONFIDENCES),
        best_confidence=_choice("best_confidence", fields.get("best_confidence"), CONFIDENCES)
        or (DEFAULT_CONFIDENCE if _all_new(like) and min_similarity is None else None),
        filter=filters.parse(fields.get("filter")),
    )
    _check_count(query)
    return query


def _all_new(like: Sequence[Example]) -> bool:
    """Whether something is liked, and nothing of it is stored in the collection already."""
    return bool(like) and all(example.kind in ("text", "image") for example in like)


def _check_count(query: Query) -> None:
    count = len(query.examples)
    if count == 0:
        raise InvalidQuery()
    if count > MAX_GIVEN:
        raise InvalidQuery(
            f"text, image, like and unlike are {count} in all. At most {MAX_GIVEN} are taken.", value=count
        )
    images = sum(example.kind == "image" for example in query.examples)
    if images > MAX_IMAGES:
        raise InvalidQuery(f"There are {images} images. At most {MAX_IMAGES} are taken.", value=images)


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _from_base64(name: str, image: Any) -> bytes:
    if not isinstance(image, str):
        raise _wrong(name, image, "a base64 string")
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery(f"{name} isn't valid base64: {error}. Send the file's bytes in base64.") from error


def _from_text(name: str, text: str) -> Any:
    """A form field's value in JSON's type; what doesn't parse stays text, and `parse` refuses it."""
    if name not in ("limit", "offset", "diversity", "min_similarity", "filter"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, value, "some words")
    if len(value) > MAX_TEXT:
        raise InvalidQuery(
            f"{name} has {len(value)} characters. At most {MAX_TEXT} are taken.", value=len(value)
        )
    return _storable(name, value.strip())


def _texts(value: Any) -> Iterator[Example]:
    for index, text in enumerate(_several(value)):
        yield Example(kind="text", value=_text("text", text), field="text", index=index)


def _files(images: Sequence[bytes]) -> Iterator[Example]:
    for index, image in enumerate(images):
        yield Example(kind="image", value=image, field="image", index=index)


def _examples(field: str, value: Any) -> tuple[Example, ...]:
    """One for each that is named, the first of those that are named twice."""
    examples = [_example(field, index, one) for index, one in enumerate(_several(value))]
    return tuple({(one.kind, one.value): one for one in reversed(examples)}.values())[::-1]


def _example(field: str, index: int, value: Any) -> Example:
    if isinstance(value, bool) or not isinstance(value, int | str | dict):
        raise _wrong(field, value, 'an id, an object as path or bucket/path, or {"text": "…", "weight": 2}')
    if not isinstance(value, dict):
        value = {"id" if isinstance(value, int) else "name": value}
    kinds = [kind for kind in KINDS if kind in value]
    if len(kinds) != 1 or not set(value) <= {*kinds, "weight"}:
        raise _wrong(field, value, f"one of {', '.join(KINDS)}, and weight if you like")
    [kind] = kinds
    return Example(
        kind=kind,
        value=_value(f"{field}.{kind}", kind, value[kind]),
        weight=_weight(f"{field}.weight", value.get("weight")),
        field=field,
        index=index,
    )


def _value(name: str, kind: str, value: Any) -> Any:
    if kind == "image":
        return _from_base64(name, value)
    if kind == "text":
        return _text(name, value)
    if kind == "name":
        if not isinstance(value, str) or not value:
            raise _wrong(name, value, "an object as path or bucket/path")
        return _storable(name, value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise _wrong(name, value, "an id from a search's results")
    return value


def _weight(name: str, value: Any) -> float:
    weight = _number(name, value, MIN_WEIGHT, MAX_WEIGHT)
    return 1.0 if weight is None else weight


def _whole(name: str, value: Any, least: int, most: int, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidLimit(
            f"{name} is {value!r:.100}. Expected a whole number from {least} to {most}.", value=value
        )
    return value


def _number(name: str, value: Any, least: float, most: float) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:  # NaN is neither
        raise _wrong(name, value, f"a number from {least} to {most}")
    return float(value)


def _choice(name: str, value: Any, choices: Sequence[str]) -> str | None:
    if value is not None and value not in choices:
        raise _wrong(name, value, " or ".join(choices))
    return None if value is None else str(value)


def _cursor(value: Any, offset: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_CURSOR:
        raise _wrong("cursor", value, "the next_cursor of an answer")
    if offset is not None:
        raise InvalidQuery(
            "cursor and offset both say where the page begins. Send one of them.", value=offset
        )
    return value


def _storable(name: str, text: str) -> str:
    if not filters.is_storable(text):
        raise InvalidQuery(f"{name} holds a character that no text in a database can hold.")
    return text


def _wrong(name: str, value: Any, expected: str) -> InvalidQuery:
    return InvalidQuery(f"{name} is {value!r:.100}. Expected {expected}.", value=value)
