"""A request's JSON body, its fields checked and converted as the real server's framework does it.

That is Ajv with coercion: numbers and booleans may be given as text, null is zero, false or an empty text, a
list of one stands for its item and an item for a list of one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from local.gateway.storage import faults

NUMBER = re.compile(r"-?\d{1,18}(\.0+)?")
FLAGS = {"true": True, "false": False, "1": True, "0": False, "": False}


@dataclass(frozen=True)
class Body:
    """The fields of an object; `place` is its name in messages. A fault for each that doesn't fit."""

    values: Mapping[str, Any]
    place: str = "body"

    def __contains__(self, field: str) -> bool:
        return field in self.values

    def require(self, *fields: str) -> None:
        """A fault for the first of `fields` that isn't there."""
        for field in fields:
            if field not in self.values:
                raise faults.invalid_body(f"{self.place} must have required property '{field}'")

    def text(self, field: str, default: str = "") -> str:
        """A field's text."""
        return self._text(self.values.get(field, default), field)

    def texts(self, field: str, *, least: int = 0, most: int | None = None) -> list[str]:
        """A field's list of texts, of `least` to `most` items."""
        given = self.values[field]
        items = given if isinstance(given, list) else [given]
        if len(items) < least:
            raise self._fault(field, f"must NOT have fewer than {least} items")
        if most is not None and len(items) > most:
            raise self._fault(field, f"must NOT have more than {most} items")
        return [self._text(item, f"{field}/{index}") for index, item in enumerate(items)]

    def number(self, field: str, default: int, *, least: int) -> int:
        """A field's whole number, at least `least`."""
        text = _spelt(self.values.get(field, default)) or "0"
        if not NUMBER.fullmatch(text):
            raise self._fault(field, "must be integer")
        if int(float(text)) < least:
            raise self._fault(field, f"must be >= {least}")
        return int(text.split(".")[0])

    def flag(self, field: str, default: bool = False) -> bool:
        """A field's truth value."""
        text = _spelt(self.values.get(field, default))
        if text not in FLAGS:
            raise self._fault(field, "must be boolean")
        return FLAGS[text]

    def choice(self, field: str, allowed: Collection[str], default: str) -> str:
        """A field's text, one of `allowed`."""
        text = self.text(field, default)
        if text not in allowed:
            raise self._fault(field, "must be equal to one of the allowed values")
        return text

    def part(self, field: str) -> Body:
        """A field's own fields; none where there is no such field."""
        values = self.values.get(field, {})
        if not isinstance(values, Mapping):
            raise self._fault(field, "must be object")
        return Body(values, f"{self.place}/{field}")

    def _text(self, value: object, field: str) -> str:
        text = _spelt(value)
        if text is None:
            raise self._fault(field, "must be string")
        return text

    def _fault(self, field: str, message: str) -> faults.Fault:
        return faults.invalid_body(f"{self.place}/{field} {message}")


def _spelt(value: object) -> str | None:
    """A scalar as JavaScript spells it; None for anything else."""
    match value:
        case [only]:
            return _spelt(only)
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str() | int() | float():
            return str(value)
    return None
