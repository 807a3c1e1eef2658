"""The wishes in the query string and the headers, parsed; nothing of them is ever pasted into SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.requests import Request

from local.gateway.rest import faults, lists, media_types, windows
from local.gateway.rest.lists import unquote
from local.gateway.rest.preferences import Preferences

OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "is", "like", "ilike")
IS_VALUES = ("null", "not_null", "true", "false", "unknown")
RESERVED = ("select", "order", "limit", "offset", "columns", "on_conflict", "apikey")
UNSUPPORTED = ("or", "and", "not.or", "not.and")
MAX_ROWS = 1000  # the default of hosted projects
SELECTED = re.compile(rf"(?:(?P<alias>{lists.NAME}):(?!:))?(?P<column>{lists.NAME})")
ORDERED = re.compile(
    rf"(?P<column>{lists.NAME})(?:\.(?P<order>asc|desc))?(?:\.(?P<nulls>nullsfirst|nullslast))?"
)


@dataclass(frozen=True, kw_only=True)
class Filter:
    column: str
    operator: str
    value: str
    values: tuple[str, ...] = ()  # those of `in`
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class Ordering:
    column: str
    descending: bool = False
    nulls: str | None = None  # nullsfirst or nullslast


@dataclass(frozen=True, kw_only=True)
class Selected:
    column: str  # or '*'
    alias: str | None = None


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """A request's wishes about the rows."""

    selected: tuple[Selected, ...]
    filters: tuple[Filter, ...]
    order: tuple[Ordering, ...]
    limit: int
    offset: int
    columns: tuple[str, ...]  # to write; without any those of the body
    on_conflict: tuple[str, ...]
    single: bool  # exactly one row is expected, and answered without its array
    preferences: Preferences

    @property
    def named(self) -> list[str]:
        """The columns that are named to be answered, compared or ordered by."""
        selected = [one.column for one in self.selected if one.column != "*"]
        return [*selected, *(one.column for one in self.filters), *(one.column for one in self.order)]

    @classmethod
    def of(
        cls, request: Request, preferences: Preferences, *, not_filters: frozenset[str] = frozenset()
    ) -> Parameters:
        """Parse; `not_filters` are the names that mean something else, such as arguments of a GET call."""
        query = request.query_params
        limit, offset = windows.read(request)
        return cls(
            selected=_selected(_first(query, "select") or "*"),
            filters=_filters(query, not_filters),
            order=next(iter([_order(text) for text in query.getlist("order")]), ()),
            limit=min(limit, MAX_ROWS),
            offset=offset,
            columns=names(query, "columns"),
            on_conflict=names(query, "on_conflict"),
            single=media_types.is_single(request.headers.get("accept", "*/*")),
            preferences=preferences,
        )


def _first(query: QueryParams, name: str) -> str | None:
    return next(iter(query.getlist(name)), None)


def names(query: QueryParams, parameter: str) -> tuple[str, ...]:
    """The names in a parameter of the query string, none without it."""
    text = _first(query, parameter)
    return () if text is None else lists.names(f"{parameter} parameter", text)


def _selected(text: str) -> tuple[Selected, ...]:
    if "(" in text:
        raise faults.unsupported("Embedding", text)
    return tuple(_selected_one(part) for part in lists.parts("select parameter", text))


def _selected_one(part: str) -> Selected:
    if "->" in part or "::" in part:
        raise faults.unsupported("The select item", part)
    match = SELECTED.fullmatch(part)
    if not match:
        raise faults.unreadable("select parameter", part)
    return Selected(column=unquote(match["column"]), alias=match["alias"] and unquote(match["alias"]))


def _filters(query: QueryParams, not_filters: frozenset[str]) -> tuple[Filter, ...]:
    return tuple(
        _filter(column, text)
        for column, text in query.multi_items()
        if column not in RESERVED and column not in not_filters
    )


def _filter(column: str, text: str) -> Filter:
    if column in UNSUPPORTED or "->" in column:
        raise faults.unsupported("The filter", f"{column}={text}")
    negated = text.startswith("not.")
    operator, dot, value = text.removeprefix("not.").partition(".")
    if not dot or not operator.isidentifier():
        raise faults.unreadable("filter", text)
    if operator not in OPERATORS:
        raise faults.unsupported("The operator", operator)
    if operator == "is" and value.lower() not in IS_VALUES:
        raise faults.unreadable("filter", text)
    values = lists.values(value) if operator == "in" else ()
    if values is None:
        raise faults.unreadable("filter", text)
    return Filter(
        column=unquote(column),
        operator=operator,
        value=before_nul(value),
        values=tuple(map(before_nul, values)),
        negated=negated,
    )


def _order(text: str) -> tuple[Ordering, ...]:
    return tuple(_ordering(part) for part in lists.parts("order", text))


def _ordering(part: str) -> Ordering:
    match = ORDERED.fullmatch(part)
    if not match:
        raise faults.unreadable("order", part)
    return Ordering(
        column=unquote(match["column"]), descending=match["order"] == "desc", nulls=match["nulls"]
    )


def before_nul(text: str) -> str:
    """As much of a value as reaches Postgres through its client library in C."""
    return text.partition("\0")[0]
