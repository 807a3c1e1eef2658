"""Requests that are no HTTP: their answer, and their line in the log, hold nothing of them."""

from __future__ import annotations

import json
from http import HTTPStatus

from gunicorn.http import errors

from shared.errors import NeuralSearchError, RequestError
from shared.runtime import logs

STATUSES: dict[type[Exception], HTTPStatus] = {
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}  # the others: 400
# A page elsewhere may read these answers, too: any caller can make them.
CORS = "Access-Control-Allow-Origin: *"
HEADERS = (
    "The request has more than 100 headers, or one of more than 8190 bytes. Leave some out or shorten it."
)
UNREADABLE = "The request is no HTTP/1.1 that can be read. Send it as any client does."
OURS = errors.InvalidResponseHeader, errors.InvalidResponseHeaderName


def answer(error: BaseException) -> bytes:
    """The whole answer: the framework, which has no request, can't make it."""
    if not isinstance(error, errors.ParseException) or isinstance(error, OURS):
        logs.write("request failed", severity="ERROR", error=error)
        return _response(HTTPStatus.INTERNAL_SERVER_ERROR, NeuralSearchError())
    name = type(error).__name__
    logs.write("unreadable request", severity="DEBUG", error_class=name)
    status = STATUSES.get(type(error), HTTPStatus.BAD_REQUEST)
    return _response(status, RequestError(HEADERS if status == 431 else UNREADABLE))


def too_long() -> bytes:
    """The whole answer to a head that has no end."""
    return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, RequestError(HEADERS))


def _response(status: HTTPStatus, error: NeuralSearchError) -> bytes:
    body = json.dumps(error.problem() | {"status": status})
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n{CORS}\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
