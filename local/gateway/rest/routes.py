"""Calling functions, reading and writing tables: each request is one transaction as its caller."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.gateway.database import REST, Connection, Database, set_locally
from local.gateway.identity import Caller, KeyRefused, token_of
from local.gateway.rest import answers, arguments, bodies, catalog, faults, preferences, statements
from local.gateway.rest.arguments import Arguments
from local.gateway.rest.parameters import MAX_ROWS, Parameters
from local.gateway.rest.tokens import caller_of
from local.keys import Keys

SEARCH_PATH = "public, extensions"
MAX_BODY = 4 * 1024 * 1024  # bytes, as docs/security.md advises for a gateway before PostgREST
Handler = Callable[[Connection, Request, Caller], Awaitable[Response]]


def routes(prefix: str, database: Database, keys: Keys) -> list[Route]:
    """The routes of PostgREST, mounted at `prefix`."""

    def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            request.state.path = request.url.path.removeprefix(prefix)  # as behind the platform's gateway
            try:
                return await _answer(request, handler, database, keys)
            except KeyRefused as refusal:
                return JSONResponse(refusal.body, 401)
            except faults.Fault as fault:
                return fault.response()
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it

        return answer

    return [
        Route(prefix + path, handler, methods=methods, max_body_size=MAX_BODY)
        for path, handler, methods in (
            ("/rpc/{function}", endpoint(call), ["GET", "HEAD", "POST"]),
            ("/{table}", endpoint(read), ["GET", "HEAD"]),
            ("/{table}", endpoint(write), ["POST", "PATCH", "DELETE"]),
            ("/{rest:path}", _no_route, ["GET", "POST", "PUT", "PATCH", "DELETE"]),
        )
    ]


async def _no_route(request: Request) -> Response:
    return faults.Fault(404, "PGRST125", "Invalid path specified in request URL").response()


async def call(connection: Connection, request: Request, caller: Caller) -> Response:
    """GET or POST /rpc/{function}."""
    name = request.path_params["function"]
    is_post = request.method == "POST"
    given: Arguments
    if is_post:
        given = await arguments.in_body(connection, request)
    else:
        given = await arguments.in_query(connection, name, request.query_params)
    function = await catalog.find_function(connection, name, given.names)
    wishes = await _wishes(connection, request, not_filters=frozenset() if is_post else given.names)
    if wishes.preferences.max_affected is not None and not function.returns_set:
        raise faults.needs_set()
    if wishes.named and not function.returns_rows:
        raise faults.without_column(wishes.named[0], name)
    settings = {**wishes.preferences.settings, **function.settings}
    await _act(connection, request, caller, settings, read_only=not (is_post and function.volatile))
    row = await _run(connection, statements.call(function, given, wishes))
    return answers.of_call(function, row, wishes, request)


async def read(connection: Connection, request: Request, caller: Caller) -> Response:
    """GET /{table}."""
    table = await catalog.find_table(connection, request.path_params["table"])
    wishes = await _wishes(connection, request)
    await _act(connection, request, caller, wishes.preferences.settings, read_only=True)
    row = await _run(connection, statements.read(table, wishes))
    total = await _total(connection, table, wishes, row["total"])
    return answers.of_rows({**row, "total": total}, wishes, request)


async def _total(
    connection: Connection, table: catalog.Table, wishes: Parameters, counted: int | None
) -> int | None:
    """Rows in all: counted, planned or, where the count passes a page, the larger of both."""
    count = wishes.preferences.count
    if count != "planned" and not (count == "estimated" and (counted or 0) > MAX_ROWS):
        return counted
    explained = await _run(connection, statements.plan(table, wishes))
    return max(counted or 0, int(explained["QUERY PLAN"][0]["Plan"]["Plan Rows"]))


async def write(connection: Connection, request: Request, caller: Caller) -> Response:
    """POST (insert, upsert), PATCH (update) or DELETE /{table}."""
    table = await catalog.find_table(connection, request.path_params["table"])
    wishes = await _wishes(connection, request)
    if wishes.preferences.returning == "headers-only":
        raise faults.unsupported("The preference", "return=headers-only")
    if request.method != "POST" and not wishes.filters:
        raise faults.needs_where("UPDATE" if request.method == "PATCH" else "DELETE")
    rows = None if request.method == "DELETE" else await bodies.read(request, wishes.columns)
    await _act(connection, request, caller, wishes.preferences.settings, read_only=False)
    if rows is None:
        statement = statements.delete(table, wishes)
    elif request.method == "PATCH":
        statement = statements.update(table, rows, wishes)
    else:
        statement = statements.insert(table, rows, wishes)
    row = await _run(connection, statement)
    return answers.of_change(table, row, wishes, request)


async def _wishes(
    connection: Connection, request: Request, *, not_filters: frozenset[str] = frozenset()
) -> Parameters:
    told = await preferences.read(connection, request.headers.getlist("prefer"))
    return Parameters.of(request, told, not_filters=not_filters)


async def _answer(request: Request, handler: Handler, database: Database, keys: Keys) -> Response:
    caller = _caller(request, keys)
    for header in ("accept-profile", "content-profile"):
        if (schema := request.headers.get(header, catalog.SCHEMA)) != catalog.SCHEMA:
            raise faults.unknown_schema(schema)
    await request.body()  # kept for the handler: who sends it slowly holds no connection meanwhile
    try:
        async with database.transaction(REST, {"search_path": SEARCH_PATH}) as connection:
            return await handler(connection, request, caller)
    except psycopg.Error as error:
        raise faults.from_database(error, anonymous=caller.role == "anon") from error


def _caller(request: Request, keys: Keys) -> Caller:
    token = token_of(request, keys)
    if token is None:
        raise KeyRefused("No API key found in request", "No `apikey` request header or url param was found.")
    return caller_of(token, keys)


async def _act(
    connection: Connection, request: Request, caller: Caller, settings: dict[str, str], *, read_only: bool
) -> None:
    """From here on the transaction is the caller's: role, claims, the role's and the function's settings."""
    of_role = await catalog.role_settings(connection, caller.role)
    await set_locally(
        connection,
        {
            **of_role,
            **settings,
            "search_path": SEARCH_PATH,
            "request.jwt.claims": json.dumps(dict(caller.claims)),
            "request.method": request.method,
            "request.path": request.state.path,
            "request.headers": json.dumps(dict(request.headers)),
            "transaction_read_only": "on" if read_only else "off",
            "role": caller.role,
        },
    )


async def _run(connection: Connection, statement: statements.Statement) -> dict[str, Any]:
    text, values = statement
    cursor = await connection.execute(text, values)
    row = await cursor.fetchone()
    return row or {"body": "[]", "rows": 0, "total": 0}
