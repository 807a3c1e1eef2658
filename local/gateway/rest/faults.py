"""PostgREST's errors: its codes, its four-part bodies, and the HTTP status for each SQLSTATE."""

from __future__ import annotations

import re
from collections.abc import Sequence

import jwt
import psycopg
from psycopg_pool import PoolTimeout
from starlette.responses import JSONResponse

# SQLSTATE, or the beginning of one, and its HTTP status; the longest match counts.
STATUSES = {
    "08": 503,
    "09": 500,
    "0L": 403,
    "0P": 403,
    "21": 500,
    "23503": 409,
    "23505": 409,
    "25": 500,
    "25006": 405,
    "28": 403,
    "2D": 500,
    "38": 500,
    "39": 500,
    "3B": 500,
    "40": 500,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "53": 503,
    "53400": 500,
    "54": 500,
    "55": 500,
    "57": 500,
    "57P01": 503,
    "58": 500,
    "F0": 500,
    "HV": 500,
    "P0": 500,
    "P0001": 400,
    "XX": 500,
}


class Fault(Exception):
    """An answer other than success."""

    def __init__(
        self, status: int, code: str, message: str, *, details: str | None = None, hint: str | None = None
    ):
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "details": details, "hint": hint, "message": message}
        self.headers = {"www-authenticate": "Bearer"} if status == 401 else {}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, self.headers, "application/json; charset=utf-8")


def unreadable(what: str, value: str) -> Fault:
    """A parameter of the query string that can't be parsed."""
    return Fault(400, "PGRST100", f'"failed to parse {what} ({value})" (line 1, column 1)', details=None)


def unsupported(what: str, value: str) -> Fault:
    """PostgREST understands this and this gateway doesn't."""
    hint = "The embedded stack knows a part of PostgREST; `supabase start` runs all of it."
    return Fault(400, "PGRST100", f"{what} {value!r} is not supported by the embedded stack", hint=hint)


def invalid_body(message: str = "Empty or invalid json") -> Fault:
    return Fault(400, "PGRST102", message)


def beyond_the_rows(offset: int, total: int) -> Fault:
    return no_range(f"An offset of {offset} was requested, but there are only {total} rows.")


def no_range(details: str) -> Fault:
    return Fault(416, "PGRST103", "Requested range not satisfiable", details=details)


def unknown_schema(schema: str) -> Fault:
    hint = "Only the following schemas are exposed: public"
    return Fault(406, "PGRST106", f"Invalid schema: {schema}", hint=hint)


def not_acceptable(media_type: str) -> Fault:
    return Fault(406, "PGRST107", f"None of these media types are available: {media_type}")


def not_one_row(rows: int) -> Fault:
    details = f"The result contains {rows} rows"
    return Fault(406, "PGRST116", "Cannot coerce the result to a single JSON object", details=details)


def invalid_preferences(preferences: Sequence[str]) -> Fault:
    details = f"Invalid preferences: {', '.join(preferences)}"
    return Fault(400, "PGRST122", "Invalid preferences given with handling=strict", details=details)


def too_many_affected(rows: int) -> Fault:
    details = f"The query affects {rows} rows"
    message = "Query result exceeds max-affected preference constraint"
    return Fault(400, "PGRST124", message, details=details)


def needs_set() -> Fault:
    message = "Function must return SETOF or TABLE when max-affected preference is used with handling=strict"
    return Fault(400, "PGRST128", message)


def unknown_function(name: str, arguments: Sequence[str]) -> Fault:
    given = ", ".join(sorted(arguments))
    signature = f"public.{name}({given})" if given else f"public.{name} without parameters"
    searched = f"public.{name} with parameters {given}" if given else f"public.{name} without parameters"
    return Fault(
        404,
        "PGRST202",
        f"Could not find the function {signature} in the schema cache",
        details=f"Searched for the function {searched} or with a single unnamed json/jsonb parameter, "
        "but no matches were found in the schema cache.",
    )


def ambiguous_function(signatures: Sequence[str]) -> Fault:
    return Fault(
        300,
        "PGRST203",
        f"Could not choose the best candidate function between: {', '.join(signatures)}",
        hint="Try renaming the parameters or the function itself in the database so function overloading "
        "can be resolved",
    )


def unknown_column(column: str, table: str) -> Fault:
    return Fault(400, "PGRST204", f"Could not find the '{column}' column of '{table}' in the schema cache")


def without_column(column: str, function: str) -> Fault:
    """What Postgres says of a column of a function that returns values, which have no columns."""
    return Fault(400, "42703", f"column {function}.{column} does not exist")


def unknown_table(name: str) -> Fault:
    return Fault(404, "PGRST205", f"Could not find the table 'public.{name}' in the schema cache")


def needs_where(statement: str) -> Fault:
    """The refusal of the extension safeupdate, loaded on hosted projects."""
    return Fault(400, "21000", f"{statement} requires a WHERE clause")


def invalid_claim(message: str) -> Fault:
    return _challenging(Fault(401, "PGRST303", message))


def from_jwt(error: jwt.PyJWTError, token: str) -> Fault:
    match error:
        case jwt.InvalidKeyError() | jwt.InvalidAlgorithmError():
            details = "No suitable key was found to decode the JWT"
            fault = Fault(401, "PGRST301", "No suitable key or wrong key type", details=details)
        case jwt.InvalidSignatureError():
            details = "None of the keys was able to decode the JWT"
            fault = Fault(401, "PGRST301", "No suitable key or wrong key type", details=details)
        case _ if token.count(".") != 2:
            parts = token.count(".") + 1
            fault = Fault(401, "PGRST301", f"Expected 3 parts in JWT; got {parts}")
        case _:
            fault = Fault(401, "PGRST301", "JWT cryptographic operation failed")
    return _challenging(fault)


def _challenging(fault: Fault) -> Fault:
    fault.headers["www-authenticate"] = f'Bearer error="invalid_token", error_description="{fault}"'
    return fault


def from_database(error: psycopg.Error, *, anonymous: bool) -> Fault:
    """The answer to a failed statement; `anonymous` callers are asked to sign in where others are refused."""
    if isinstance(error, PoolTimeout):
        return Fault(504, "PGRST003", "Timed out acquiring connection from connection pool.")
    state = error.sqlstate
    if state is None and isinstance(error, psycopg.DataError):  # the driver didn't even send it
        return Fault(400, "22021", 'invalid byte sequence for encoding "UTF8": 0x00')
    if state is None:
        return Fault(503, "PGRST001", "Database client error. Retrying the connection.", details=str(error))
    message = error.diag.message_primary or str(error)
    names_no_role = state == "22023" and re.fullmatch(r'role ".*" does not exist', message, re.DOTALL)
    return Fault(
        401 if names_no_role else _status(state, anonymous),
        state,
        message,
        details=error.diag.message_detail,
        hint=error.diag.message_hint,
    )


def _status(state: str, anonymous: bool) -> int:
    if state == "42501":
        return 401 if anonymous else 403
    if state.startswith("PT") and state[2:].isdecimal():
        return int(state[2:])
    return STATUSES.get(state) or STATUSES.get(state[:2]) or 400
