"""What can be asked for: reading and checking a query, whichever way it was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared import checks, examples, filters
from shared.errors import InvalidQuery
from shared.examples import Example

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
DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_OFFSET = 800  # with limit and examples, what match_documents returns at most: 1000
MAX_GIVEN = 32  # texts, images, like and unlike together
MAX_IMAGES = 8  # of those
MAX_CURSOR = 1000  # characters


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
    # Results first: each of these holds back results only where it is sent.
    min_similarity: float | None = None
    min_confidence: str | None = None  # of each result
    best_confidence: str | None = None  # of the best result, or nothing is found
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
    return parse(
        fields, [examples.from_base64("image", one) for one in checks.several(fields.pop("image", None))]
    )


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
    like = (
        *examples.texts(fields.get("text")),
        *examples.files(images),
        *examples.read("like", fields.get("like")),
    )
    query = Query(
        like=like,
        unlike=examples.read("unlike", fields.get("unlike")),
        strategy=checks.choice("strategy", fields.get("strategy"), STRATEGIES) or STRATEGIES[0],
        diversity=checks.number("diversity", fields.get("diversity"), 0, 1) or 0.0,
        collapse=checks.choice("collapse", fields.get("collapse"), COLLAPSES),
        limit=checks.whole("limit", fields.get("limit"), 1, MAX_LIMIT, DEFAULT_LIMIT),
        offset=checks.whole("offset", fields.get("offset"), 0, MAX_OFFSET, 0),
        cursor=_cursor(fields.get("cursor"), fields.get("offset")),
        min_similarity=checks.number("min_similarity", fields.get("min_similarity"), -1, 1),
        min_confidence=checks.choice("min_confidence", fields.get("min_confidence"), CONFIDENCES),
        best_confidence=checks.choice("best_confidence", fields.get("best_confidence"), CONFIDENCES),
        filter=filters.parse(fields.get("filter")),
    )
    _check_count(query)
    return query


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


def _from_text(name: str, text: str) -> Any:
    """A form field's value in JSON's type; what doesn't parse stays text, and `parse` refuses it."""
    if name not in ("limit", "offset", "diversity", "min_similarity", "filter"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _cursor(value: Any, offset: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_CURSOR:
        raise checks.wrong("cursor", value, "the next_cursor of an answer")
    if offset is not None:
        raise InvalidQuery(
            "cursor and offset both say where the page begins. Send one of them.", value=offset
        )
    return value
