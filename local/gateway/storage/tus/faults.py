"""The protocol's errors: plain text, and the status on the wire, unlike everywhere else in Storage."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, Response

from local.gateway.storage.faults import Fault

VERSION = "1.0.0"


class TusFault(Fault):
    """An answer other than success to a request of the protocol."""

    def __init__(self, status: int, text: str):
        super().__init__(status, "TusError", text, http=status)

    def response(self) -> Response:
        headers = {"tus-resumable": VERSION, "cache-control": "no-store"}
        return PlainTextResponse(self.body["message"], self.http, headers)


def translated(fault: Fault) -> TusFault:
    """Storage's own fault in this protocol's form."""
    return TusFault(int(fault.body["statusCode"]), fault.body["message"])


def not_found() -> TusFault:
    return TusFault(404, "The file for this url was not found\n")


def expired() -> TusFault:
    return TusFault(410, "The file for this url no longer exists\n")


def completed() -> TusFault:
    return TusFault(400, "Cannot terminate an already completed upload")


def offset_missing() -> TusFault:
    return TusFault(403, "Upload-Offset header required\n")


def offset_conflict() -> TusFault:
    return TusFault(409, "Upload-Offset conflict\n")


def content_type_missing() -> TusFault:
    return TusFault(403, "Content-Type header required\n")


def length_required() -> TusFault:
    return TusFault(400, "Upload-Length or Upload-Defer-Length header required\n")


def longer_than_told() -> TusFault:
    return TusFault(413, "upload's size exceeded\n")


def too_large() -> TusFault:
    return TusFault(413, "Maximum size exceeded\n")


def concatenation_unsupported() -> TusFault:
    return TusFault(
        501,
        "Concatenation extension is not (yet) supported. Disable parallel uploads in the tus client.\n",
    )
