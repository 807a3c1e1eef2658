"""What results should be like, or unlike: reading and checking examples, whichever way they were sent."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shared import checks
from shared.errors import InvalidQuery

KINDS = ("id", "name", "text", "image")
MAX_TEXT = 1000  # characters
MIN_WEIGHT = 0.001  # of less, the database's single precision may keep nothing
MAX_WEIGHT = 1000


@dataclass(frozen=True, kw_only=True)
class Example:
    """Something that results should be like, or unlike."""

    kind: str  # id or name of a stored image, text, or image: a file's bytes, not decoded yet
    value: Any  # int, str, str or bytes
    weight: float = 1.0
    field: str  # where it was given: text, image, like or unlike
    index: int  # and its place there, from 0


def texts(value: Any) -> Iterator[Example]:
    """Those of the field `text`: one or a list."""
    for index, text in enumerate(checks.several(value)):
        yield Example(kind="text", value=_text("text", text), field="text", index=index)


def files(images: Sequence[bytes]) -> Iterator[Example]:
    """Those of the field `image`."""
    for index, image in enumerate(images):
        yield Example(kind="image", value=image, field="image", index=index)


def read(field: str, value: Any) -> tuple[Example, ...]:
    """Those of `like` or `unlike`: one or a list, of what is named twice only the first."""
    examples = [_read_one(field, index, one) for index, one in enumerate(checks.several(value))]
    return tuple({(one.kind, one.value): one for one in reversed(examples)}.values())[::-1]


def from_base64(name: str, image: Any) -> bytes:
    """A file's bytes; InvalidQuery where `image` isn't base64."""
    if not isinstance(image, str):
        raise checks.wrong(name, image, "a base64 string")
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery(f"{name} isn't valid base64: {error}. Send the file's bytes in base64.") from error


def _read_one(field: str, index: int, value: Any) -> Example:
    if isinstance(value, bool) or not isinstance(value, int | str | dict):
        raise checks.wrong(
            field, value, 'an id, an object as path or bucket/path, or {"text": "…", "weight": 2}'
        )
    if not isinstance(value, dict):
        value = {"id" if isinstance(value, int) else "name": value}
    kinds = [kind for kind in KINDS if kind in value]
    if len(kinds) != 1 or not set(value) <= {*kinds, "weight"}:
        raise checks.wrong(field, value, f"one of {', '.join(KINDS)}, and weight if you like")
    [kind] = kinds
    return Example(
        kind=kind,
        value=_value(f"{field}.{kind}", kind, value[kind]),
        weight=checks.number(f"{field}.weight", value.get("weight"), MIN_WEIGHT, MAX_WEIGHT) or 1.0,
        field=field,
        index=index,
    )


def _value(name: str, kind: str, value: Any) -> Any:
    if kind == "image":
        return from_base64(name, value)
    if kind == "text":
        return _text(name, value)
    if kind == "name":
        if not isinstance(value, str) or not value:
            raise checks.wrong(name, value, "an object as path or bucket/path")
        return checks.storable(name, value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise checks.wrong(name, value, "an id from a search's results")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise checks.wrong(name, value, "some words")
    if len(value) > MAX_TEXT:
        raise InvalidQuery(
            f"{name} has {len(value)} characters. At most {MAX_TEXT} are taken.", value=len(value)
        )
    return checks.storable(name, value.strip())
