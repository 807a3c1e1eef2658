"""Calls SQL functions through supabase-py, and translates what can go wrong there, once, into our errors."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import httpx
from postgrest.exceptions import APIError
from supabase import Client, SupabaseException, create_client
from supabase.lib.client_options import SyncClientOptions

from shared.errors import (
    DatabaseError,
    DatabaseForbidden,
    DatabaseUnavailable,
    InvalidQuery,
    NeuralSearchError,
    Unauthorized,
)
from shared.identity import Identity

TIMEOUT = httpx.Timeout(20.0, connect=5.0)
# Shorter than the 5 s after which common servers drop an idle connection: a POST on it isn't retried.
KEEP_ALIVE = httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=4.0)

# The HTTP status of this thread's last answer: supabase-py drops it, and a gateway's error body has no code.
_status: ContextVar[int] = ContextVar("status", default=0)


def http_client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """The connections that all clients of this process share; safe to use from many threads."""
    transport = transport or httpx.HTTPTransport(limits=KEEP_ALIVE, retries=1)
    hooks = {"response": [_note]}
    return httpx.Client(transport=transport, timeout=TIMEOUT, event_hooks=hooks)


def _note(response: httpx.Response) -> None:
    _status.set(response.status_code)
    kind = response.headers.get("content-type", "")
    if response.status_code == 200 and "json" not in kind:  # supabase-py would hand its text to us as data
        raise DatabaseError(f"{response.url} answered {kind or 'something'}, not JSON. Check SUPABASE_URL.")


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

    def call(self, function: str, **arguments: Any) -> Any:
        """What the SQL function answers. An argument that is None is left out, so its default applies."""
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            return self._client.rpc(function, given).execute().data
        except NeuralSearchError:
            raise
        except Exception as error:
            raise translate(error, function) from error


def _client(url: str, key: str, options: SyncClientOptions) -> Client:
    try:
        return create_client(url, key, options)
    except SupabaseException as error:
        raise Unauthorized(
            "There is no API key: send one in the `apikey` header, or set SUPABASE_PUBLISHABLE_KEY."
            if not key
            else f"SUPABASE_URL doesn't name a Supabase project: {error}"
        ) from error


def translate(error: Exception, function: str) -> NeuralSearchError:
    """Our error for whatever supabase-py raised while `function` was called."""
    if isinstance(error, APIError):
        return _from_api(error, function)
    if isinstance(error, httpx.TimeoutException):
        return DatabaseUnavailable(f"{function}: no answer in time. Try again later.", retry_after=10)
    if isinstance(error, httpx.HTTPError):
        return DatabaseUnavailable(f"{function}: can't reach the database's API: {error}", retry_after=10)
    return DatabaseError(f"{function}: {type(error).__name__}: {error}")


def _from_api(error: APIError, function: str) -> NeuralSearchError:
    code = str(error.code or _status.get())
    kind = next((kind for prefixes, kind in MEANINGS if code.startswith(prefixes)), DatabaseError)
    if len(code) == 3:
        kind = STATUSES.get(code, DatabaseError)
    text = f"{function}: {error.message or 'no message'} ({code})"
    if kind is Unauthorized:
        text += ". Send a valid key or token"
    return kind(text, retry_after=10 if kind is DatabaseUnavailable else None)


# What a SQLSTATE or PostgREST's own code means, by its beginning; the first line that fits decides.
MEANINGS: tuple[tuple[tuple[str, ...], type[NeuralSearchError]], ...] = (
    (("PGRST301", "PGRST302", "PGRST303"), Unauthorized),  # the token is expired, forged or malformed
    (("42501",), DatabaseForbidden),
    (
        ("PGRST00", "08", "40", "53", "55P03", "57", "58", "25006"),
        DatabaseUnavailable,
    ),  # 57014: took too long
    (("22", "P0001"), InvalidQuery),  # a value that the function refuses
)

# What an answer without such a code means: it comes from a gateway before PostgREST, by its HTTP status.
STATUSES: dict[str, type[NeuralSearchError]] = {
    "401": Unauthorized,
    "403": DatabaseForbidden,
    **dict.fromkeys(("408", "429", "500", "502", "503", "504", "520", "522", "524"), DatabaseUnavailable),
}
