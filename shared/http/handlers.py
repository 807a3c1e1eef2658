"""The common ground of both HTTP edges: routes, problem details, body limits, services built once."""

from __future__ import annotations

import hmac
import json
import select
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import flask
from werkzeug.exceptions import HTTPException

from shared.errors import (
    MethodNotAllowed,
    NeuralSearchError,
    PayloadTooLarge,
    RequestError,
    Unauthorized,
    UnknownPath,
)
from shared.runtime import logs
from shared.runtime.limiter import ConcurrencyLimiter
from shared.settings import Secret

Handler = Callable[[flask.Request], flask.Response]
Routes = Mapping[str, Mapping[str, Handler]]  # path -> method -> handler
T = TypeVar("T")

# Requests that ask the database or Storage, each on a thread, and of these so many at a time.
CALLERS, CALLERS_AT_WORK = 64, 16
MAX_QUERY_STRING = 64 * 1024  # bytes
# Of every answer: browsers don't guess its type, and a page's address, which holds its search, goes nowhere.
SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
HUNG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)  # macOS has only the latter

_building = threading.RLock()


def once(name: str, build: Callable[[], T]) -> T:
    """The app's `name`, built by its first request: the server forks after it has imported our module.

    A test puts its own into `app.extensions` before it asks.
    """
    extensions = flask.current_app.extensions
    with _building:
        if name not in extensions:
            extensions[name] = build()
        built: T = extensions[name]
        return built


def in_turn(handler: Handler) -> Handler:
    """`handler` for CALLERS at most, so that threads are left for all others."""

    def handle(request: flask.Request) -> flask.Response:
        with once("callers", _callers).enter():
            return handler(request)

    return handle


def _callers() -> ConcurrencyLimiter:
    return ConcurrencyLimiter(running=CALLERS_AT_WORK, waiting=CALLERS - CALLERS_AT_WORK)


def dispatch(request: flask.Request, routes: Routes, max_bytes: int) -> flask.Response:
    """The answer of the path's handler. Any path takes OPTIONS, and HEAD where it takes GET.

    A body of more than `max_bytes` is refused before anything else.
    """
    logs.begin_request(request.headers.get("x-request-id", ""))
    _limit_size(request, max_bytes)
    path = normal_path(request)
    if path not in routes:
        raise UnknownPath(f"This path isn't there. Expected one of: {', '.join(routes)}.", value=request.path)
    methods = routes[path]
    if request.method == "OPTIONS":
        return flask.Response(status=204, headers={"Allow": allowed(methods)})
    handler = methods.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        text = f"{path} takes {', '.join(methods)}, not {request.method}."
        refused = problem(MethodNotAllowed(text, value=request.method))
        refused.headers["Allow"] = allowed(methods)
        return refused
    return handler(request)


def allowed(methods: Collection[str]) -> str:
    """The header Allow of a path with handlers for these."""
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])


def normal_path(request: flask.Request) -> str:
    return request.path.rstrip("/") or "/"


def route(request: flask.Request, routes: Routes) -> str:
    """The request's path as metrics name it: a caller can't add to their number."""
    path = normal_path(request)
    return path if path in routes else "other"


def _limit_size(request: flask.Request, max_bytes: int) -> None:
    if len(request.query_string) > MAX_QUERY_STRING:
        raise PayloadTooLarge(
            f"The query string has {len(request.query_string)} bytes. At most {MAX_QUERY_STRING} are taken: "
            "send the fields in the body.",
            value=len(request.query_string),
        )
    if (request.content_length or 0) > max_bytes:
        raise PayloadTooLarge(
            f"The body has {request.content_length} bytes. At most {max_bytes} are taken.",
            value=request.content_length,
        )
    request.max_content_length = max_bytes + 1  # Werkzeug cuts a chunked body off there, silently


def connection(request: flask.Request) -> socket.socket | None:
    """The socket to the caller, where the server tells it: gunicorn and Werkzeug's own do."""
    found = (request.environ.get(f"{server}.socket") for server in ("gunicorn", "werkzeug"))
    return next((one for one in found if isinstance(one, socket.socket)), None)


def is_open(connection: socket.socket | None) -> bool:
    """Whether the caller still waits, as far as can be told: one that has closed its side does not.

    Not by reading: a caller may have sent more than this request.
    """
    if connection is None:
        return True
    try:
        poll = select.poll()
        poll.register(connection, HUNG_UP)
        return not poll.poll(0)
    except (OSError, ValueError):  # closed on our side
        return False


def check_secret(request: flask.Request, accepted: Sequence[Secret]) -> None:
    """Compares x-webhook-secret in constant time with each accepted one. With none set, nobody gets in."""
    if not accepted:
        raise Unauthorized("EMBED_WEBHOOK_SECRET is not set in this function, so it accepts no call. Set it.")
    given = request.headers.get("x-webhook-secret", "").encode("latin-1", "replace")
    fits = [hmac.compare_digest(given, secret.encode()) for secret in accepted]  # always compares them all
    if not any(fits):
        raise Unauthorized("The header x-webhook-secret is missing or wrong. Send the function's secret.")


def finished(response: flask.Response) -> flask.Response:
    """`response` with the request's name, and as a stream: before any other the framework reads the rest of
    the request's body."""
    response.headers.update({**SAFE, "x-request-id": logs.end_request()})
    if not response.is_streamed:
        response.headers.setdefault("Content-Length", str(response.calculate_content_length()))
        response.response = iter(list(response.iter_encoded()))
    return response


def answer(body: Any, status: int = 200) -> flask.Response:
    text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    headers = {"Cache-Control": "no-store"}
    return flask.Response(text, status, headers, mimetype="application/json")


def problem(error: Exception, status: int | None = None) -> flask.Response:
    """An error as problem details (RFC 9457). The part that callers aren't told is logged."""
    ours = known(error)
    details = ours.problem()
    details["status"] = status = status or ours.status
    if status >= 500:
        logs.write("request failed", severity="ERROR" if status == 500 else "WARNING", error=error)
    elif ours.detail != str(ours):
        logs.write("request refused", error=error)
    text = json.dumps(details, default=str)
    response = flask.Response(text, status, mimetype="application/problem+json")
    response.headers["Cache-Control"] = "no-store"
    if ours.retry_after or status == 503:
        response.headers["Retry-After"] = str(ours.retry_after or 10)
    return response


def known(error: Exception) -> NeuralSearchError:
    """The error as one of ours: an unexpected one's message is not for callers."""
    if isinstance(error, NeuralSearchError):
        return error
    if not isinstance(error, HTTPException):
        return NeuralSearchError()
    kinds: dict[int | None, type[NeuralSearchError]] = {
        404: UnknownPath,
        405: MethodNotAllowed,
        413: PayloadTooLarge,
    }
    return kinds.get(error.code, RequestError)()
