"""A request's body: read within bounds, and told apart by its type or, where that is vague, its beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Literal

import flask
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from shared.errors import InvalidQuery, PayloadTooLarge, RequestError
from shared.http import forms, handlers
from shared.http.pace import Pace
from shared.http.paced_socket import PacedSocket
from shared.runtime.limiter import ConcurrencyLimiter

Kind = Literal["json", "form", "file"]

PIECE = 64 * 1024
BUFFERED = 64 * 1024  # bytes that the server has of a body before a thread takes the request
# Clients' types for unknown bytes, and for text.
UNTOLD = ("", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded")


def _free(_size: int) -> None:
    """Takes no memory from others: as small bodies do, or all of a function that takes no others."""


def read(request: flask.Request, readers: ConcurrencyLimiter, take: Callable[[int], None] = _free) -> bytes:
    """The whole body; PayloadTooLarge where one of unannounced length passes the limit, RequestError where it
    comes in so many pieces that they cost more than their bytes, RequestTooSlow where it comes too slowly.

    A body that is still coming holds a thread, so only as many as `readers` lets in are waited for, and
    memory, which `take` is told of.
    """
    pace = Pace()
    try:
        if _is_there(request):
            return _read(request, pace, _free)
        with readers.enter(), _waiting(request, pace):
            return _read(request, pace, take)
    except ParseException as error:  # the server reads chunks and trailers no sooner than we do
        raise RequestError("The body's chunks can't be read. Send it with a Content-Length.") from error
    except OSError as error:  # from the chunks alone: werkzeug's stream says the same of any other body
        raise ClientDisconnected() from error


def _is_there(request: flask.Request) -> bool:
    """Whether the server has waited for all of it: not where the client first waits to be asked for it."""
    length = request.content_length
    return length is not None and length <= BUFFERED and "Expect" not in request.headers


def _waiting(request: flask.Request, pace: Pace) -> AbstractContextManager[None]:
    connection = handlers.connection(request)
    return connection.reading(pace) if isinstance(connection, PacedSocket) else nullcontext()


def _read(request: flask.Request, pace: Pace, take: Callable[[int], None]) -> bytes:
    body = bytearray()  # not a list of the pieces: these stay in a heap of their thread when they are freed
    most = request.max_content_length
    for piece in _pieces(request):
        take(len(piece))
        body += piece
        if most is not None and len(body) >= most:
            raise PayloadTooLarge()
        pace.add(piece)
    if len(body) < (request.content_length or 0):  # to werkzeug the connection's end is the body's
        raise ClientDisconnected()
    return bytes(body)


def _pieces(request: flask.Request) -> Iterator[bytes]:
    body = request.environ["wsgi.input"]
    if not isinstance(getattr(body, "reader", None), ChunkedReader):
        yield from iter(partial(request.stream.read, PIECE), b"")
        return
    # Each chunk by itself: gunicorn reads on until it has so many bytes, at any cost of the chunks, and
    # copies all that is left of a large one each time.
    whole = False
    try:
        yield from body.reader.parser
        whole = True
    finally:
        body.failed = not whole  # then nobody knows where the next request begins


def kind(request: flask.Request, body: bytes) -> Kind:
    """Which kind of body it is. InvalidQuery for a type of which there is none."""
    if request.mimetype == "application/json":
        return "json"
    if request.mimetype == "multipart/form-data":
        return "form"
    if request.mimetype in UNTOLD and _begins_an_object(body):
        return "json"
    if request.mimetype.startswith("image/") or request.mimetype == "application/octet-stream":
        return "file"
    raise InvalidQuery(
        f"Content-Type is {request.mimetype!r:.100}. Expected application/json (search only), "
        "multipart/form-data, image/* or application/octet-stream.",
        value=request.mimetype,
    )


def form(request: flask.Request, body: bytes) -> forms.Form:
    """The fields and images of a multipart body, in memory."""
    return forms.parse(body, request.mimetype_params.get("boundary", ""))


def _begins_an_object(body: bytes) -> bool:
    return body[:PIECE].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(b"{")
