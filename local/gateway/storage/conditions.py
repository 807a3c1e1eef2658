"""Conditional requests: which of them a download answers without the bytes (RFC 9110, 13.2.2).

If-Range is not looked at, as by the real server: its range is served even of an object that has changed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from starlette.datastructures import Headers


def precondition_failed(asked: Headers, etag: str, modified: datetime) -> bool:
    """Whether the object isn't the one that the client means."""
    if match := asked.get("if-match"):
        return not _names(match, etag)
    since = _date(asked.get("if-unmodified-since"))
    return since is not None and modified.replace(microsecond=0) > since


def is_unchanged(asked: Headers, etag: str, modified: datetime) -> bool:
    """Whether the client has these bytes already."""
    if match := asked.get("if-none-match"):
        return _names(match, etag)
    since = _date(asked.get("if-modified-since"))
    return since is not None and modified.replace(microsecond=0) <= since


def _names(condition: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in condition.split(",")]
    return etag in tags or tags == ["*"]


def _date(text: str | None) -> datetime | None:
    """A header's date; None for one that can't be read, which is as if it weren't there."""
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):  # the latter for numbers of many digits
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
