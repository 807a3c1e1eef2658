"""A call's arguments: JSON in a POST's body, text in a GET's query string. Postgres converts both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from psycopg import sql
from starlette.datastructures import QueryParams
from starlette.requests import Request

from local.gateway.database import Connection
from local.gateway.rest import bodies, catalog, faults
from local.gateway.rest.catalog import Parameter, as_type, quoted
from local.gateway.rest.parameters import RESERVED, before_nul, names

NAMES = "select json_object_keys(%s::json) as name"


class Arguments(Protocol):
    """The values of a call."""

    @property
    def names(self) -> frozenset[str]: ...

    def values(self, given: Sequence[Parameter]) -> tuple[sql.Composed, list[Any]]:
        """The select of one row that has these arguments as its columns."""


@dataclass(frozen=True, kw_only=True)
class InBody:
    """A JSON object, in its own words: numbers keep their digits, and text its spaces."""

    names: frozenset[str]
    json: str

    def values(self, given: Sequence[Parameter]) -> tuple[sql.Composed, list[Any]]:
        columns = [sql.SQL("{} {}").format(quoted(one.name), as_type(one.type)) for one in given]
        row = sql.SQL("select * from json_to_record(%s::json) as _ ({})").format(sql.SQL(", ").join(columns))
        return row, [self.json]


@dataclass(frozen=True, kw_only=True)
class InQuery:
    """Texts, each cast to its parameter's type: JSON and arrays in Postgres' notation."""

    texts: Mapping[str, str]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.texts)

    def values(self, given: Sequence[Parameter]) -> tuple[sql.Composed, list[Any]]:
        columns = [sql.SQL("%s::{} as {}").format(as_type(one.type), quoted(one.name)) for one in given]
        row = sql.SQL("select {}").format(sql.SQL(", ").join(columns))
        return row, [before_nul(self.texts[one.name]) for one in given]


async def in_body(connection: Connection, request: Request) -> InBody:
    """Read by Postgres: unlike Python it takes no NaN, and deeper JSON, if less deep than PostgREST's own."""
    body = await request.body()
    if body:
        bodies.check_type(request)
    try:
        text = body.decode() if body else "{}"
        cursor = await connection.execute(NAMES, [text])
    except (UnicodeDecodeError, psycopg.DataError, psycopg.errors.StatementTooComplex) as error:
        if isinstance(error, psycopg.errors.UntranslatableCharacter):  # an escaped NUL is JSON, and no text
            raise
        raise faults.invalid_body() from None
    keys = [row["name"] for row in await cursor.fetchall()]
    return InBody(names=frozenset(names(request.query_params, "columns") or keys), json=text)


async def in_query(connection: Connection, function: str, query: QueryParams) -> InQuery:
    """Those of the query's items that some overload has a parameter for, or that can't be filters."""
    overloads = await catalog.find_overloads(connection, function)
    known = {parameter.name for one in overloads for parameter in one.parameters}
    return InQuery(
        texts={key: value for key, value in query.items() if key in known or _is_argument(key, value)}
    )


def _is_argument(key: str, value: str) -> bool:
    operator, dot, _ = value.removeprefix("not.").partition(".")
    return key not in RESERVED and not (dot and operator.isalpha())
