"""Calls SQL functions through supabase-py, and translates its errors, once, into ours."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import httpx
from postgrest.exceptions import APIError
from supabase import Client, SupabaseException, create_client
from supabase.lib.client_options import SyncClientOptions

from shared.errors import (
    DatabaseError,
    DatabaseForbidden,
    DatabaseLocked,
    DatabaseOutdated,
    DatabaseUnavailable,
    InvalidQuery,
    NeuralSearchError,
    ObjectNotFound,
    SettingsError,
    Unauthorized,
)
from shared.runtime import disconnect
from shared.supabase import retry_after
from shared.supabase.bounded_transport import BoundedTransport, reason
from shared.supabase.credentials import Identity

Meanings = tuple[tuple[tuple[str, ...], type[NeuralSearchError]], ...]

CODE = re.compile("PGRST[0-9A-Z]{3}|[0-9A-Z]{5}")  # PostgREST's own, and SQLSTATEs
CLOCK_SECONDS = 1.0  # by which one machine's clock may be behind another's
TIMEOUT = httpx.Timeout(20.0, connect=5.0)  # the longest silence within an answer

# Of this thread's last answer, since supabase-py drops them: the HTTP status, for a gateway's error body has
# no code, and when to come back.
_status: ContextVar[int] = ContextVar("status", default=0)
_wait: ContextVar[int] = ContextVar("wait", default=retry_after.DEFAULT)


def http_client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """The connections that all clients of this process share; safe to use from many threads."""
    hooks = {"response": [_note]}
    return httpx.Client(transport=BoundedTransport(transport), timeout=TIMEOUT, event_hooks=hooks)


def _note(response: httpx.Response) -> None:
    _status.set(response.status_code)
    _wait.set(retry_after.seconds(response.headers.get("retry-after")))
    if response.status_code == 200:
        _check_json(response)


def _check_json(response: httpx.Response) -> None:
    """supabase-py would hand us text that isn't JSON, or a part of it, as data."""
    kind = response.headers.get("content-type", "")
    try:
        response.read()
        response.json()
        fault = "" if "json" in kind else f"{kind or 'something'}, not JSON"
    except (ValueError, RecursionError) as error:
        fault = f"{kind or 'something'} that can't be read as JSON ({error})"
    if fault:
        raise foreign_answer(str(response.url), fault)


def foreign_answer(source: str, found: str) -> DatabaseUnavailable:
    """The error for an answer that no project of ours gives, though it is called a success."""
    return DatabaseUnavailable(
        f"{source} answered {found}. Check SUPABASE_URL.", retry_after=retry_after.DEFAULT
    )


class Database:
    """The project's SQL functions, called as one identity. Cheap to make: one per request, never shared."""

    def __init__(self, url: str, identity: Identity, http: httpx.Client):
        options = SyncClientOptions(
            # The key's exact spelling matters: supabase-py would add its own header to a lower-case one.
            headers={"Authorization": identity.authorization},
            httpx_client=http,
            auto_refresh_token=False,
            persist_session=False,
            postgrest_client_retry=False,
        )
        self._client = _client(url, identity.apikey, options)
        self._is_key_alone = identity.is_key_alone

    def call(self, function: str, columns: Sequence[str] = (), /, **arguments: Any) -> Any:
        """The SQL function's answer, of its columns only these where some are named.

        An argument that is None is left out, so its default applies.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            return self._call(function, columns, given)
        except Unauthorized as error:
            if not (self._is_key_alone and _is_misdated(error)):
                raise
        # No mistake of the caller's: the platform's clocks differ by a moment.
        time.sleep(CLOCK_SECONDS)
        try:
            return self._call(function, columns, given)
        except Unauthorized as error:
            if not _is_misdated(error):
                raise
            text = f"{error}. The project's own clocks disagree: come back."
            raise DatabaseUnavailable(text, retry_after=retry_after.DEFAULT) from error

    def rows(self, function: str, columns: Sequence[str] = (), /, **arguments: Any) -> list[dict[str, Any]]:
        """As `call`, of a function that returns a table."""
        rows = self.call(function, columns, **arguments)
        if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
            raise foreign_answer(function, f"{rows!r:.100}, not rows")
        return rows

    def _call(self, function: str, columns: Sequence[str], given: dict[str, Any]) -> Any:
        disconnect.check()
        try:
            request = self._client.rpc(function, given)
            return (request.select(*columns) if columns else request).execute().data
        except NeuralSearchError:
            raise
        except Exception as error:
            raise translate(error, function) from error


def _client(url: str, key: str, options: SyncClientOptions) -> Client:
    try:
        return create_client(url, key, options)
    except SupabaseException as error:
        if key:
            raise SettingsError(f"SUPABASE_URL doesn't name a Supabase project: {error}") from error
        raise Unauthorized(
            "There is no API key: send one in the `apikey` header, or set SUPABASE_PUBLISHABLE_KEY."
        ) from error


def _is_misdated(error: Unauthorized) -> bool:
    """Whether PostgREST understood the token, and didn't take its claims: mostly its times."""
    return isinstance(error.__cause__, APIError) and error.__cause__.code == "PGRST303"


def translate(error: Exception, function: str) -> NeuralSearchError:
    """Our error for one that supabase-py raised while `function` was called."""
    if isinstance(error, APIError):
        return _from_api(error, function)
    if isinstance(error, httpx.TimeoutException):
        text = f"{function}: no answer in time. Try again later."
        return DatabaseUnavailable(text, retry_after=retry_after.DEFAULT)
    if isinstance(error, httpx.HTTPError):
        text = f"{function}: can't reach the database's API: {reason(error)}"
        return DatabaseUnavailable(text, retry_after=retry_after.DEFAULT)
    return DatabaseError(f"{function}: {type(error).__name__}: {error}")


def _from_api(error: APIError, function: str) -> NeuralSearchError:
    code = str(error.code or "")
    if not CODE.fullmatch(code):
        code = str(_status.get())
    meanings = STATUSES if len(code) == 3 else MEANINGS
    kind = next((kind for beginnings, kind in meanings if code.startswith(beginnings)), DatabaseError)
    # So PostgREST says that a connection of its pool turned out broken: its other errors have words.
    if code == "400" and not error.message:
        kind = DatabaseUnavailable
    said = (error.message or "no message").removesuffix(".")
    text = f"{function}: {said}" + ("" if said.endswith(f"(SQLSTATE {code})") else f" ({code})")
    if kind is Unauthorized:
        text += ". Send a valid key or token"
    elif kind is DatabaseOutdated:
        text += ". The migrations are of another version than this process. Run `neural-search install`"
    elif error.hint:
        text += f". {error.hint}"
    ours = _is_ours(error)
    value = error.details if kind is ObjectNotFound and ours else None  # the id that isn't there
    wait = _wait.get() if issubclass(kind, DatabaseUnavailable) else None
    return kind(text, value=value, retry_after=wait, told=text if ours else _plainly(kind, code))


def _is_ours(error: APIError) -> bool:
    """Whether one of our functions wrote the error, for callers: each of those has a remedy."""
    return bool(error.hint) and (error.code in OURS or str(error.message).startswith(BROKEN_OFF))


def _plainly(kind: type[NeuralSearchError], code: str) -> str:
    """Other errors' words tell of tables, functions, addresses: callers get the code."""
    return f"{REFUSED if kind is InvalidQuery else kind.default()} Code: {code}."


# Our functions' SQLSTATEs for callers, and the beginning of their message for the database's own trouble.
OURS = ("22023", "55000", "PT404")
BROKEN_OFF = "The database broke off the search"
REFUSED = "The database doesn't take these values. Compare them with /openapi.json."

# The meaning of a SQLSTATE or PostgREST's own code, by its beginning; the first line that fits decides.
MEANINGS: Meanings = (
    (("PGRST301", "PGRST302", "PGRST303"), Unauthorized),  # the token is expired, forged or malformed
    (("42501",), DatabaseForbidden),
    # PostgREST's own, and Postgres's: PostgREST learns of an upgrade a moment later.
    (("PGRST202", "42883", "42P01", "42703"), DatabaseOutdated),
    (("40001", "40P01", "55P03"), DatabaseLocked),  # by a competing transaction
    (("PGRST00", "08", "40", "53", "57", "58", "25006"), DatabaseUnavailable),  # 57014: took too long
    (("22", "P0001"), InvalidQuery),  # a value that the function refuses
    (("PT404",), ObjectNotFound),  # an example that isn't there, or isn't the caller's to see
)

# The meaning of an answer without such a code, by its HTTP status: it comes from a gateway before PostgREST,
# or is a broken one of PostgREST's (200).
STATUSES: Meanings = (
    (("401",), Unauthorized),
    (("403",), DatabaseForbidden),
    (("5", "408", "429", "404", "3", "2"), DatabaseUnavailable),
)
