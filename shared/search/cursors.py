"""Where the next page of a search begins: opaque to clients, and worth nothing for any other search."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from shared.errors import InvalidCursor
from shared.search.query import Query
from shared.search.query_examples import Example

FURTHEST = 10_000  # the greatest rank that match_documents takes; it is a hint, so that less finds the same


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a page begins."""

    skip: int = 0  # how many results come before it
    folded: int = 0  # and how many copies that are folded into these
    after: dict[str, Any] | None = None  # the last result before it, as page_after takes it


def start(query: Query, model: str) -> Start:
    """Where `query`'s page begins; InvalidCursor where its cursor belongs to another search or model."""
    if query.cursor is None:
        return Start(skip=query.offset)
    try:
        fields = json.loads(base64.urlsafe_b64decode(query.cursor))
        of_query, of_model, skip, after = (fields[name] for name in ("query", "model", "skip", "after"))
        folded = _whole(fields.get("folded", 0))
        found = Start(skip=_whole(skip), folded=folded, after=after and _place(after))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InvalidCursor(value=query.cursor) from error
    if of_query != _digest(query):
        raise InvalidCursor("This cursor belongs to another search. Repeat the search that it came from.")
    if of_model != model:
        raise InvalidCursor(
            f"This cursor belongs to the model {of_model!r:.100}, which isn't active any more. "
            "Begin again without it."
        )
    return found


def write(query: Query, model: str, begin: Start) -> str:
    """The cursor of the page that begins there."""
    fields = {"query": _digest(query), "model": model, **asdict(begin)}
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


def _digest(query: Query) -> str:
    """A name for the search, the same on each of its pages."""
    like, unlike = _brief(query.like), _brief(query.unlike)
    asked = replace(query, like=like, unlike=unlike, cursor=None, offset=0, limit=1)
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


def _brief(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The examples with hashes for files, whose `repr` is three times as long and takes seconds to make."""
    return tuple(
        replace(one, value=hashlib.sha256(one.value).hexdigest()) if one.kind == "image" else one
        for one in examples
    )


def _place(after: dict[str, Any]) -> dict[str, Any]:
    order = "score" if "score" in after else "similarity"
    value = float(after[order])
    if not math.isfinite(value):
        raise ValueError(f"{value} is no {order}")
    return {order: value, "id": _whole(after["id"]), "rank": min(_whole(after["rank"]), FURTHEST)}


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no count")
    return value
