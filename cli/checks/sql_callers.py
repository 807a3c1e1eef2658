"""SQL functions called with a user's rights: by their token through PostgREST, or as their role directly."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from cli.checks.policies import ANON, Caller, ask
from cli.installer.connection import Database, translate
from shared.errors import Unauthorized
from shared.secrets import api_keys
from shared.settings import Secret, Settings
from shared.supabase import credentials, database

OURS = "neural-search "  # how each line begins that our SQL writes into the server's log


class SqlCaller(Protocol):
    """Calls SQL functions with one caller's rights."""

    def call(self, function: str, /, **arguments: Any) -> Any:
        """The rows that `function` answers, as dictionaries."""


class DirectCaller:
    """Over DATABASE_URL as the role and claims of `caller`. `log` has the database's lines."""

    def __init__(self, connection: Database, caller: Caller):
        self._connection = connection
        self._caller = caller
        self.log: list[str] = []
        connection.add_notice_handler(self._note)

    def call(self, function: str, /, **arguments: Any) -> list[dict[str, Any]]:
        given = {name: _adapted(value) for name, value in arguments.items() if value is not None}
        listed = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), value) for name, value in given.items()
        )
        query = sql.SQL("select * from {}({})").format(sql.Identifier("public", function), listed)
        settings = {"neural_search.explain": "on", "client_min_messages": "log"}
        try:
            return ask(self._connection, self._caller, query, settings)
        except psycopg.Error as error:
            raise translate(error) from error

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        text = notice.message_primary or ""
        if text.startswith(OURS):
            self.log.append(text.removeprefix(OURS))


def _adapted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Jsonb(value)
    numbers = isinstance(value, list) and all(isinstance(one, float) for one in value)
    return str(value) if numbers else value  # a vector


@contextmanager
def through_api(target: Settings, token: Secret) -> Iterator[SqlCaller]:
    """PostgREST, which verifies the token; without one, anon."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    identity = credentials.caller(headers, target.need("publishable_key"))
    with database.http_client() as http:
        yield database.Database(target.need("supabase_url"), identity, http)


def read_token(token: Secret) -> Caller:
    """The caller that a token names, anon where there is none. Its signature isn't checked: an owner of
    DATABASE_URL may be anybody."""
    if not token:
        return ANON
    claims = api_keys.claims(token)
    if claims is None or not isinstance(claims.get("role"), str):
        raise Unauthorized("The user's token is no JWT with a role. Expected a user's access token.")
    if float(claims.get("exp") or "inf") < time.time():
        raise Unauthorized("The user's token has expired: whatever is searched with it is answered 401.")
    return Caller(claims)
