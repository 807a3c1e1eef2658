"""Answers: a body as Postgres made it, its range, and the preferences that were followed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from local.gateway.rest import faults
from local.gateway.rest.catalog import Function, Table
from local.gateway.rest.parameters import Parameters

JSON = "application/json; charset=utf-8"
OBJECT = "application/vnd.pgrst.object+json; charset=utf-8"
CHANGE = {"POST": ("missing", "return"), "PATCH": ("missing", "return", "max-affected")}
REMOVAL = ("return", "max-affected")

Row = dict[str, Any]  # of a statement: its body, its rows and their total


def of_rows(row: Row, wishes: Parameters, request: Request) -> Response:
    """The rows that were read."""
    _check_single(row["rows"], wishes)
    text = _only(row["body"]) if wishes.single else row["body"]
    return _page(text, row, wishes, request)


def of_call(function: Function, row: Row, wishes: Parameters, request: Request) -> Response:
    """A function's result: an array of what it returns, or the one thing that it returns."""
    row = row if function.returns_set else {**row, "rows": 1}
    _check_single(row["rows"], wishes)
    _check_affected(row["rows"], wishes)
    if function.returns_void:
        return Response(status_code=204, headers=_headers(row, wishes, ()))
    is_array = function.returns_set or function.returns_rows
    bare = is_array and (wishes.single or not function.returns_set)
    text = _only(row["body"]) if bare else row["body"]
    return _page(text, row, wishes, request, counting=("max-affected",))


def of_change(table: Table, row: Row, wishes: Parameters, request: Request) -> Response:
    """The rows that were inserted, updated or deleted; a fault undoes what was done to too many."""
    _check_single(row["rows"], wishes)
    if request.method != "POST":
        _check_affected(row["rows"], wishes)
    counting = CHANGE.get(request.method, REMOVAL)
    if request.method == "POST" and (wishes.on_conflict or table.key):
        counting = ("resolution", *counting)
    total = row["total"] if wishes.preferences.counts_rows else None
    shown = row["rows"] if request.method == "PATCH" else 0
    headers = {"content-range": _range(shown, 0, total), **wishes.preferences.applied(counting)}
    if not wishes.preferences.returns_rows:
        return Response(status_code=201 if request.method == "POST" else 204, headers=headers)
    status = 201 if request.method == "POST" else 200
    text = _only(row["body"]) if wishes.single else row["body"]
    return Response(text, status, headers, _media_type(wishes))


def _check_single(rows: int, wishes: Parameters) -> None:
    if wishes.single and rows != 1:
        raise faults.not_one_row(rows)


def _check_affected(rows: int, wishes: Parameters) -> None:
    bound = wishes.preferences.max_affected
    if bound is not None and rows > bound:
        raise faults.too_many_affected(rows)


def _page(
    text: str, row: Row, wishes: Parameters, request: Request, *, counting: Collection[str] = ()
) -> Response:
    rows, total = row["rows"], row["total"]
    headers = _headers(row, wishes, counting)
    if total is not None and wishes.offset > total:  # what a function has done stays done, as with PostgREST
        fault = faults.beyond_the_rows(wishes.offset, total)
        fault.headers |= headers
        return fault.response()
    status = 206 if total is not None and rows < total else 200
    return Response("" if request.method == "HEAD" else text, status, headers, _media_type(wishes))


def _headers(row: Row, wishes: Parameters, counting: Collection[str]) -> dict[str, str]:
    window = _range(row["rows"], wishes.offset, row["total"])
    return {"content-range": window, **wishes.preferences.applied(counting)}


def _media_type(wishes: Parameters) -> str:
    return OBJECT if wishes.single else JSON


def _only(array: str) -> str:
    """The element of a JSON array of one, untouched: numbers keep all their digits."""
    return array[1:-1] or "null"


def _range(rows: int, offset: int, total: int | None) -> str:
    window = f"{offset}-{offset + rows - 1}" if rows else "*"
    return f"{window}/{'*' if total is None else total}"
