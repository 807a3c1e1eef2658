"""Which of the rows are wanted: by limit and offset, and by the Range header of a GET."""

from __future__ import annotations

import re

from starlette.requests import Request

from local.gateway.rest import faults

LARGEST, DIGITS = 2**63 - 1, 40  # of a bigint; as many digits of a number are read as tell that it is larger
RANGE = re.compile(r"([0-9]+)-([0-9]*)")


def read(request: Request) -> tuple[int, int]:
    """Limit and offset; what both the query string and the header take where there are both."""
    query = request.query_params
    limit, offset = _limit(query.get("limit", "")), _offset(query.get("offset", ""))
    told = RANGE.fullmatch(request.headers.get("range", "")) if request.method == "GET" else None
    if not told:
        return limit, offset
    begin, end = _offset(told[1]), _whole(told[2], LARGEST)
    if end < begin:
        raise faults.no_range(
            "The lower boundary must be lower than or equal to the upper boundary in the Range header."
        )
    if limit == 0:
        return 0, 0
    first, last = max(offset, begin), min(offset + limit - 1, end)
    if last < first:
        raise faults.no_range("Limit should be greater than or equal to zero.")
    return last - first + 1, first


def _limit(text: str) -> int:
    """All rows for a text that is no number; a fault for a negative one."""
    number = _whole(text, LARGEST)
    if number < 0:
        raise faults.no_range("Limit should be greater than or equal to zero.")
    return number


def _offset(text: str) -> int:
    """No rows for a text that is no number, or a negative one."""
    number = max(0, _whole(text, 0))
    if number > LARGEST:
        raise faults.Fault(400, "22003", f'value "{number}" is out of range for type bigint')
    return number


def _whole(text: str, default: int) -> int:
    return int(text[:DIGITS]) if re.fullmatch(r"\s*-?[0-9]+\s*", text) else default
