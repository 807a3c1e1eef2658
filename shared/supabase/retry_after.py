"""Retry-After (RFC 9110, 10.2.3): when a server that is overloaded or down wants to be asked again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DEFAULT = 10  # seconds, where the server names no time
LONGEST = 3600  # a server's mistake must not put us to sleep for days


def seconds(header: str | None) -> int:
    """The header's time as seconds from now, 1 to 3600; it holds a number or a date."""
    text = (header or "").strip()
    try:
        if text.isdecimal():
            return _bounded(int(text) or DEFAULT)  # PostgREST says 0 for as long as its database is away
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # more digits than a number may have, or no date at all
        return DEFAULT
    return _bounded(round((moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()))


def _bounded(wanted: int) -> int:
    return min(max(wanted, 1), LONGEST)
