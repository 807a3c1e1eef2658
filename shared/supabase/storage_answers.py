"""Storage's answers: their bodies, within bounds of bytes, and the errors that they tell of."""

from __future__ import annotations

import json
import re
from http.client import IncompleteRead, LineTooLong
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3

from shared.errors import (
    ObjectExists,
    ObjectNotFound,
    PayloadTooLarge,
    StorageError,
    StorageForbidden,
    StorageRefused,
    StorageUnavailable,
)
from shared.supabase import retry_after

READ_SECONDS = 15  # the longest silence within an answer, and the longest while none of an upload is taken
# The longest answer and upload, however steadily they drip, and a second more for so many bytes.
TOTAL_SECONDS, BYTES_PER_SECOND = 60, 64 * 1024
CHUNK = 256 * 1024
BESIDE_BYTES = 1024 * 1024  # of an answer beside its body: heads, chunks' lengths, trailers
ERROR_BYTES = 64 * 1024  # an error's body is never longer
ANSWER_BYTES = 16 * 1024 * 1024  # nor is an answer that is no object: 1000 signed URLs are 1 MB
BUSY = ("408", "423", "429", "503", "544")  # it answers, and wants to be left alone for a while
HTTP_STATUS = re.compile("[1-5][0-9]{2}")
CODE = re.compile(r"[A-Za-z_]{1,40}|\d{1,5}")
CUT_OFF = (urllib3.exceptions.ProtocolError, IncompleteRead, requests.exceptions.ChunkedEncodingError)
WORD = re.compile(r"\w+")
PLAIN_WORDS = re.compile(r"""[A-Za-z ,.;:'"()-]+""")


def read(response: requests.Response, enough: int) -> bytes:
    """The body, or somewhat more than its first `enough` bytes."""
    if expect := getattr(response.raw._original_response, "expect", None):  # a BoundedResponse's
        expect(enough)
    data = bytearray()
    while part := response.raw.read1(CHUNK, decode_content=True):
        data += part
        if len(data) > enough:
            break
    return bytes(data)


def json_object(response: requests.Response) -> dict[str, Any]:
    """The body; StorageError where it is no JSON object, or longer than ANSWER_BYTES."""
    body = _json(response)
    if not isinstance(body, dict):
        raise StorageError(f"Storage answered {body!r:.100}. Expected a JSON object.")
    return body


def json_list(response: requests.Response) -> list[dict[str, Any]]:
    """The body; StorageError where it is no JSON list of objects, or longer than ANSWER_BYTES."""
    body = _json(response)
    if not (isinstance(body, list) and all(isinstance(row, dict) for row in body)):
        raise StorageError(f"Storage answered {body!r:.100}. Expected a JSON list of objects.")
    return body


def text(body: dict[str, Any], name: str) -> str:
    """A value of a body; StorageError where it is no text."""
    if not isinstance(found := body.get(name), str):
        raise StorageError(f"Storage answered {body!r:.100}. Expected text as {name!r}.")
    return found


def _json(response: requests.Response) -> Any:
    try:
        return json.loads(read(response, ANSWER_BYTES))
    except (ValueError, RecursionError) as error:
        raise StorageError(f"Storage answered something that isn't JSON: {error}") from error


def refusal(response: requests.Response) -> StorageError | PayloadTooLarge:
    """The error that Storage's body tells of: HTTP says 400 to nearly everything, the body has the status.

    Without such a body a gateway before Storage answered, and it speaks of no object.
    """
    body = _error_body(response)
    said = str(body.get("message") or body.get("error") or "")
    text = said or f"HTTP {response.status_code}"
    status = str(body.get("statusCode") or "")
    if not HTTP_STATUS.fullmatch(status):
        status = str(response.status_code)
    code = str(body.get("code") or body.get("error") or status)
    if status == "404" and body:
        return ObjectNotFound(f"Storage: {text}. There is no such object or bucket, or you may not read it.")
    if status == "409":
        return ObjectExists()
    if status == "413":
        return PayloadTooLarge(
            f"Storage: {text}.", told="Storage takes no object of this size: see its bucket's limit."
        )
    if status.startswith("4") and body and status not in {"401", "403", *BUSY}:
        told = f"{StorageRefused.default()} Code: {code if CODE.fullmatch(code) else status}."
        return StorageRefused(f"Storage: {text} ({code}).", told=told)
    return _fault_of_all(response, _nameless(said, response), status, has_body=bool(body))


def _fault_of_all(response: requests.Response, said: str, status: str, *, has_body: bool) -> StorageError:
    """A fault that stops other jobs, too: its words are kept with each, where their uploaders read them."""
    text = f"{said} ({status})" if said else f"HTTP {status}"
    if status.startswith("3"):
        return StorageUnavailable(f"Storage sends us on to another address ({status}). Check SUPABASE_URL.")
    if status in ("401", "403"):
        return StorageForbidden(f"Storage: {text}. Check the key and the policies.")
    if status in BUSY or not has_body or (status.startswith("5") and status != "500"):
        asked = response.headers.get("Retry-After")
        wait = retry_after.seconds(asked) if asked or status in BUSY else None
        return StorageUnavailable(f"Storage: {text}.", retry_after=wait)
    return StorageError(f"Storage: {text}.")


def _nameless(said: str, response: requests.Response) -> str:
    """Empty unless it is plain words, and none of them is of the address, which some gateways tell."""
    asked = "/".join(urlsplit(response.request.url or "").path.split("/")[4:])  # behind /storage/v1/object
    words = (set(WORD.findall(text.casefold())) for text in (said, unquote(asked)))
    return said if PLAIN_WORDS.fullmatch(said) and not set.intersection(*words) else ""


def _error_body(response: requests.Response) -> dict[str, Any]:
    try:
        body = json.loads(read(response, ERROR_BYTES))
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def translate(error: Exception) -> StorageError:
    """Our error for one of `requests` or urllib3.

    Only a Storage that can't be reached is everybody's trouble. One that falls silent within one object may
    be that object's, so it counts as an attempt, or the object would be tried forever.
    """
    if isinstance(error, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        return StorageError(
            f"Storage was silent for {READ_SECONDS} seconds, or took more than {TOTAL_SECONDS} for an answer "
            f"and one for each {BYTES_PER_SECOND} bytes of it, or sent many more bytes than it has. "
            "It will be asked again."
        )
    if isinstance(_first(error), LineTooLong):  # of a media type, say, which is its uploader's
        return StorageError("Storage's answer has a header of more than 64 KiB. It will be asked again.")
    if isinstance(error, CUT_OFF):
        return StorageError(f"Storage's answer was cut off: {error}. It will be asked again.")
    unreachable = requests.ConnectionError | urllib3.exceptions.HTTPError
    if isinstance(error, unreachable) or not isinstance(error, requests.RequestException):
        return StorageUnavailable(f"Storage can't be reached: {_cause(error)}.")
    return StorageError(f"The request to Storage failed ({_cause(error)}). It will be asked again.")


def _cause(error: BaseException) -> str:
    """The system's words: those above it tell the address, which names an object (see `_nameless`)."""
    error = _first(error)
    said = getattr(error, "strerror", None) or ""
    return said if PLAIN_WORDS.fullmatch(said) else type(error).__name__


def _first(error: BaseException) -> BaseException:
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    return error
