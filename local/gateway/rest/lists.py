"""Lists in the query string: names and values between commas, in double quotes where they hold one."""

from __future__ import annotations

import re

from local.gateway.rest import faults

NAME = r'(?:"(?:[^"\\]|\\.)*"|[^",.:()]+)'
PART = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+')
VALUES = re.compile(r"[ \t]*\([ \t]*(.*)\)[ \t]*", re.DOTALL)
VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"(?=,|\Z)|([^,)]*)', re.DOTALL)


def parts(what: str, text: str) -> list[str]:
    """Split at commas outside quotes, which stay; a fault for an empty part or a quote that isn't closed."""
    found = PART.findall(text)
    if not found or ",".join(found) != text:
        raise faults.unreadable(what, text)
    return [part.strip() for part in found]


def names(what: str, text: str) -> tuple[str, ...]:
    """The names of `a,"b,c"`."""
    found = parts(what, text)
    if not all(re.fullmatch(NAME, name) for name in found):
        raise faults.unreadable(what, text)
    return tuple(map(unquote, found))


def values(text: str) -> tuple[str, ...] | None:
    """The values of `(a,"b,c")`, None where it isn't such a list; `()` holds none.

    Quotes count around a whole value alone.
    """
    inside = VALUES.fullmatch(text)
    if not inside:
        return None
    found, place, end = [], 0, len(inside[1])
    while place <= end:
        match = VALUE.match(inside[1], place)
        assert match  # it matches the empty string
        if match.end() < end and inside[1][match.end()] != ",":
            return None
        quoted, plain = match.groups()
        found.append(plain if quoted is None else _unescape(quoted))
        place = match.end() + 1
    return () if found == [""] else tuple(found)


def unquote(name: str) -> str:
    """A name without its quotes, if it has some."""
    return _unescape(name[1:-1]) if len(name) > 1 and name[0] == name[-1] == '"' else name


def _unescape(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
