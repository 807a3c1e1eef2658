"""A request's body: read within bounds, and told apart by its type or, where that is vague, its beginning."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import IO, Any, Literal

import flask
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from shared.errors import InvalidQuery, PayloadTooLarge, RequestError
from shared.runtime.limiter import ConcurrencyLimiter

Kind = Literal["json", "form", "file"]
Form = tuple[Mapping[str, Sequence[str]], list[bytes]]  # fields, and the files in the field `image`

PIECE, PIECE_OF_CHUNKS = 64 * 1024, 4 * 1024
BUFFERED = 64 * 1024  # bytes that the server has of a body before a thread takes the request
# The bound on reading: so many CPU seconds, and one more for so many bytes. Chunks of one byte cost a second
# for each 200,000, honest ones for each 500 million.
CPU_SECONDS, BYTES_PER_CPU_SECOND = 0.1, 50_000_000
MAX_TEXT = 256 * 1024  # bytes of a form's fields
MAX_PARTS = 100  # of a form: 32 texts and examples, every other field, and a few more for a good answer
# Clients' types for unknown bytes, and for text.
UNTOLD = ("", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded")


def read(request: flask.Request, readers: ConcurrencyLimiter) -> bytes:
    """The whole body; PayloadTooLarge where one of unannounced length passes the limit, RequestError where it
    comes in so many pieces that they cost more than their bytes.

    A body that is still coming holds a thread, so only as many as `readers` lets in are waited for.
    """
    is_there = request.content_length is not None and request.content_length <= BUFFERED
    try:
        with nullcontext() if is_there else readers.enter():
            return _read(request)
    except ParseException as error:  # the server reads chunks and trailers no sooner than we do
        raise RequestError(f"The body's chunks can't be read: {error!s:.100}") from error


def _read(request: flask.Request) -> bytes:
    began = time.thread_time()
    pieces: list[bytes] = []
    size = 0
    at_once = PIECE_OF_CHUNKS if request.content_length is None else PIECE
    while piece := request.stream.read(at_once):
        pieces.append(piece)
        size += len(piece)
        if time.thread_time() - began > CPU_SECONDS + size / BYTES_PER_CPU_SECOND:
            raise RequestError("The body comes in too many pieces. Send it with a Content-Length.")
    if request.max_content_length is not None and size >= request.max_content_length:
        raise PayloadTooLarge()
    return b"".join(pieces)


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


def form(request: flask.Request, body: bytes) -> Form:
    """The fields and images of a multipart body, in memory."""
    parser = FormDataParser(_in_memory, max_form_memory_size=MAX_TEXT, max_form_parts=MAX_PARTS, silent=False)
    try:
        parsed = parser.parse(io.BytesIO(body), request.mimetype, len(body), request.mimetype_params)
    except RequestEntityTooLarge as error:
        raise PayloadTooLarge(
            f"The form has more than {MAX_PARTS} parts, or {MAX_TEXT} bytes beside its files. Send less."
        ) from error
    except (ValueError, BadRequest) as error:
        raise InvalidQuery("The body is no form. Expected multipart/form-data with its boundary.") from error
    _, fields, files = parsed
    if unknown := set(files) - {"image"}:
        raise InvalidQuery("Files are taken in the field `image` alone.", value=sorted(unknown))
    return fields.to_dict(flat=False), [file.read() for file in files.getlist("image")]


def _begins_an_object(body: bytes) -> bool:
    return body[:PIECE].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(b"{")


def _in_memory(*_: Any, **__: Any) -> IO[bytes]:
    """Not in a temporary file: the disk may be full, or memory itself."""
    return io.BytesIO()
