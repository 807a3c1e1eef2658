"""Checks of one value of a query, by its field's name; what doesn't fit is refused with what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.errors import InvalidLimit, InvalidQuery


def several(value: Any) -> list[Any]:
    """A field that takes one or a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def number(name: str, value: Any, least: float, most: float) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:  # NaN is neither
        raise wrong(name, value, f"a number from {least} to {most}")
    return float(value)


def whole(name: str, value: Any, least: int, most: int, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise wrong(name, value, f"a whole number from {least} to {most}", InvalidLimit)
    return value


def choice(name: str, value: Any, choices: Sequence[str]) -> str | None:
    if value is not None and value not in choices:
        raise wrong(name, value, " or ".join(choices))
    return None if value is None else str(value)


def is_storable(text: str) -> bool:
    """Whether a text in the database can hold it."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def storable(name: str, text: str) -> str:
    if not is_storable(text):
        raise InvalidQuery(f"{name} holds a character that no text in a database can hold.")
    return text


def wrong(name: str, value: Any, expected: str, kind: type[InvalidQuery] = InvalidQuery) -> InvalidQuery:
    return kind(f"{name} is {value!r:.100}. Expected {expected}.", value=value)
