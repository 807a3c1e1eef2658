"""Examples that results should be like, or unlike: reading and checking them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pybase64
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
)
from typing_extensions import TypeAliasType

from shared.search.validation import Body, Expected, refusal, storable
from shared.supabase.storage import MAX_PATH

KINDS = ("id", "name", "text", "image")
MAX_TEXT = 1000  # characters
MIN_WEIGHT = 0.001  # of less, the database's single precision may keep nothing
MAX_WEIGHT = 1000
SHORTEST_LINE = 16  # letters of base64
DATA_URL = re.compile(r"data:[\w.+-]{1,100}/[\w.+-]{1,100}(;[\w.+=-]{1,100}){0,4};base64,", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Example:
    """Something that results should be like, or unlike."""

    kind: str  # id or name of a stored image, text, or image: a file's bytes, not decoded yet
    value: Any  # int, str, str or bytes
    weight: float = 1.0
    field: str  # where it was given: text, image, like or unlike
    index: int  # and its place there, from 0


def _words(value: str) -> str:
    if not value.strip():
        raise refusal(expected="some words")
    if len(value) > MAX_TEXT:
        said = f"has {len(value)} characters. At most {MAX_TEXT} are taken."
        raise refusal(said=said, value=len(value))
    return storable(value.strip())


def _in_one_line(text: str) -> str | bytes:
    if not any(space in text for space in " \t\r\n"):
        return text
    lines = text.encode("ascii")
    line = lines.translate(None, b" \t\r\n")
    if len(lines) - len(line) > 2 * len(lines) // SHORTEST_LINE + 2:  # a line may end with two
        raise ValueError("lines too short")
    return line


def _file(value: Any) -> bytes:
    """A file's bytes, from base64 in one piece or in lines, or from a data URL; bytes as they are."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise refusal(expected="a base64 string")
    prefix = DATA_URL.match(value)
    try:
        text = value[prefix.end() :] if prefix else value
        return pybase64.b64decode(_in_one_line(text), validate=True)  # a quarter of binascii's time
    except ValueError as error:
        said = (
            "isn't valid base64 in one piece or "
            f"in lines of at least {SHORTEST_LINE} letters, padded with =. "
            "Send the file's bytes in base64, or as a data URL."
        )
        raise refusal(said=said) from error


Id = Annotated[
    int,
    Field(ge=1, lt=2**63, description="A document's id."),
    Expected("an id from a search's results"),
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_PATH, description="`path` or `bucket/path` of a stored image."),
    AfterValidator(storable),
    Expected("an object as path or bucket/path"),
]
Text = Annotated[
    str,
    AfterValidator(_words),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_TEXT}),
    Expected("some words"),
]
File = Annotated[
    bytes,
    PlainValidator(_file),
    WithJsonSchema(
        {
            "type": "string",
            "format": "byte",
            "minLength": 1,
            "contentEncoding": "base64",
            "description": "Also as a data URL.",
        }
    ),
]


class _Weighted(Body):
    weight: Annotated[
        float,
        Field(ge=MIN_WEIGHT, le=MAX_WEIGHT, description="How much it counts beside the others."),
        Expected(f"a number from {MIN_WEIGHT} to {MAX_WEIGHT}"),
    ] = 1.0

    def example(self, field: str, index: int) -> Example:
        [kind] = set(type(self).model_fields) - {"weight"}
        return Example(kind=kind, value=getattr(self, kind), weight=self.weight, field=field, index=index)


class StoredById(_Weighted):
    id: Id


class StoredByName(_Weighted):
    name: Name


class Words(_Weighted):
    text: Text


class Sent(_Weighted):
    image: File


def _as_object(value: Any) -> dict[str, Any]:
    """`{"id": 7}` for 7, `{"name": "a.png"}` for "a.png"; nulls are left out."""
    if isinstance(value, bool) or not isinstance(value, int | str | dict):
        raise refusal(expected='an id, an object as path or bucket/path, or {"text": "…", "weight": 2}')
    if not isinstance(value, dict):
        return {"id" if isinstance(value, int) else "name": value}
    given = {key: one for key, one in value.items() if one is not None}
    if len(given.keys() - {"weight"}) != 1 or not given.keys() <= {*KINDS, "weight"}:
        raise refusal(expected=f"one of {', '.join(KINDS)}, and weight if you like")
    return given


def _tag(value: dict[str, Any]) -> str:
    [kind] = value.keys() - {"weight"}
    return f"({kind})"


# The tags are no identifiers, so that errors don't name them as fields.
_Object = Annotated[
    Annotated[StoredById, Tag("(id)")]
    | Annotated[StoredByName, Tag("(name)")]
    | Annotated[Words, Tag("(text)")]
    | Annotated[Sent, Tag("(image)")],
    Discriminator(_tag),
]
Given = TypeAliasType(
    "Given", Annotated[_Object, BeforeValidator(_as_object, json_schema_input_type=Id | Name | _Object)]
)


def of(field: str, values: Sequence[Any], kind: str) -> list[Example]:
    """The values of a field whose examples are all of one kind."""
    return [Example(kind=kind, value=value, field=field, index=index) for index, value in enumerate(values)]


def distinct(field: str, given: Sequence[_Weighted]) -> list[Example]:
    """Those of `like` or `unlike`; of two that are equal only the first."""
    examples = [one.example(field, index) for index, one in enumerate(given)]
    return list({(one.kind, one.value): one for one in reversed(examples)}.values())[::-1]
