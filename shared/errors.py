"""Every error that this project raises on purpose.

NeuralSearchError
├── SettingsError               a setting is missing or makes no sense
├── RequestError                the caller sent something we can't act on
│   ├── InvalidPayload
│   ├── InvalidQuery
│   │   ├── InvalidLimit
│   │   ├── InvalidFilter
│   │   ├── InvalidCursor
│   │   └── InvalidWords
│   ├── Unauthorized
│   ├── PayloadTooLarge
│   ├── RequestTooSlow
│   ├── UnknownPath
│   ├── MethodNotAllowed
│   └── ClientClosedRequest
├── ImageError                  these bytes will never become a vector
│   ├── EmptyImage
│   ├── NotAnImage
│   ├── BrokenImage
│   ├── IncompleteImage
│   ├── UnsupportedImage
│   ├── ImageTooLarge
│   ├── TooManyPixels
│   ├── ImageTooLong
│   ├── TooManyScans
│   ├── DecodingTimedOut
│   ├── DecoderCrashed
│   └── DecodingOutOfMemory
├── StorageError                Storage refused or failed
│   ├── ObjectNotFound
│   ├── StorageForbidden
│   ├── ObjectExists
│   ├── StorageRefused
│   │   └── InvalidObjectName
│   ├── StaleObject
│   ├── ObjectBlocked
│   └── StorageUnavailable
├── DatabaseError               the database refused or failed
│   ├── DatabaseForbidden
│   ├── DatabaseOutdated
│   └── DatabaseUnavailable
│       └── DatabaseLocked
├── ModelError
│   ├── UnknownModel
│   ├── ModelNotLoaded
│   ├── ModelBroken
│   ├── ModelUnresponsive
│   └── TextUnsupported
├── Busy                        come back later
├── DecoderUnavailable
├── DecoderStalled
├── CollectionError             a collection can't be evaluated
└── StackError                  the embedded stack can't start or isn't running

A class's docstring is its default message; it is also all that callers are told of an `internal` error, whose
message may hold addresses, paths and other software's words, for the operator. No message holds a secret,
though a gateway may tell a request's headers back. `status` is the HTTP status at
the edge; `type` is the stable name that clients may branch on; `outcome` is a job's end with this error:

failed      a dead letter, until somebody retries it
skipped     no image: recorded, and counted apart
retry       tried again after a pause, charged with an attempt
doubtful    this object's fault or an outage's beginning: a retry that isn't charged the first times
release     the surroundings' fault: the lease is given back uncharged, the other jobs wait too
wait        somebody else has this object's rows: the lease is given back uncharged, the other jobs go on
"""

from __future__ import annotations

import copy
import json
import re
import reprlib
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeVar

from shared.secrets.masking import without_secrets

Outcome = Literal["failed", "skipped", "retry", "doubtful", "release", "wait"]
Error = TypeVar("Error", bound="NeuralSearchError")

SHOWN = 200  # characters of an offending value that are told back


class NeuralSearchError(Exception):
    """Something failed inside neural-search. The log of the function has the cause."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal"
    outcome: ClassVar[Outcome] = "retry"
    internal: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.type = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()

    def __init__(
        self,
        message: str | None = None,
        *,
        value: Any = None,
        retry_after: int | None = None,
        told: str | None = None,  # to callers, in place of the message
    ):
        super().__init__(without_secrets(message) if message else self.default())
        self.value = value
        self.retry_after = retry_after
        self.told = without_secrets(told) if told else None

    @classmethod
    def default(cls) -> str:
        return " ".join((cls.__doc__ or "").split())

    @property
    def detail(self) -> str:
        """The error in words for callers."""
        return self.told or (self.default() if self.internal else str(self))

    def anew(self: Error) -> Error:
        """The same error, to be raised in place of one that is kept.

        A kept one must not be raised: each raise adds frames to its traceback, which lead back to it and hold
        all that their callers have.
        """
        again = copy.copy(self)
        again.__cause__ = self.__cause__
        return again

    def problem(self) -> dict[str, Any]:
        """This error as problem details (RFC 9457)."""
        title = type(self).type.replace("-", " ").capitalize()
        problem = {
            "type": type(self).type,
            "title": title,
            "status": self.status,
            "detail": self.detail,
        }
        return problem if self.value is None else problem | {"value": _shown(self.value)}


def _shown(value: Any) -> Any:
    """`value` where JSON can hold it, NaN and Infinity not among it, and it is short; else how it begins."""
    if isinstance(value, str):
        return value[:SHOWN]
    try:
        if _size(value) <= SHOWN and len(json.dumps(value, allow_nan=False)) <= SHOWN:
            return value
    except (ValueError, TypeError):
        pass
    return reprlib.repr(value)[:SHOWN]


def _size(value: Any) -> int:
    """About how many characters of JSON, counted no further than needed: a value may hold a large file."""
    waiting, size = [value], 0
    while waiting and size <= SHOWN:
        one = waiting.pop()
        size += len(one) + 2 if isinstance(one, str | list | dict) else 2
        waiting += [*one, *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else []
    return size


class SettingsError(NeuralSearchError):
    """A setting is missing or makes no sense. The log says which; docs/settings.md lists them all."""

    outcome = "release"
    internal = True


class RequestError(NeuralSearchError):
    """The request can't be understood. See /openapi.json for what is expected."""

    status = 400


class InvalidPayload(RequestError):
    """The webhook's body can't be understood. Expected JSON: {type, table, schema, record, old_record}."""


class InvalidQuery(RequestError):
    """The query can't be understood. Send at least one of text, image, like or unlike."""


class InvalidLimit(InvalidQuery):
    """limit or offset is out of range. Send whole numbers; follow next_cursor to go on."""


class InvalidFilter(InvalidQuery):
    """The filter can't be understood. See /openapi.json for its keys."""


class InvalidCursor(InvalidQuery):
    """This is no cursor of ours. Send back the next_cursor of an answer, as it is, with the same search."""


class InvalidWords(InvalidQuery):
    """words is out of range, or given for more than one text alone. Send a number from 0 (by what images show
    alone) to 1, or leave it out."""


class Unauthorized(RequestError):
    """The credentials are missing, wrong or expired. Send a valid key or token."""

    status = 401
    outcome = "release"


class PayloadTooLarge(RequestError):
    """The request's body is too large. Send less."""

    status = 413


class RequestTooSlow(RequestError):
    """The request's body comes too slowly. Send it again, over a faster line or in a smaller file."""

    status = 408


class UnknownPath(RequestError):
    """There is nothing at this path. The function's README lists what there is."""

    status = 404


class MethodNotAllowed(RequestError):
    """This path doesn't take this method. The function's README says what it takes."""

    status = 405


class ClientClosedRequest(RequestError):
    """The caller has hung up, so nobody waits for the answer. Send the request again."""

    status = 499  # as nginx logs it


class ImageError(NeuralSearchError):
    """This image can't be embedded. Upload a JPEG, PNG, WebP, GIF, TIFF, BMP, ICO, AVIF or HEIC image."""

    status = 422
    outcome: ClassVar[Outcome] = "failed"


class EmptyImage(ImageError):
    """The file is empty. Upload it again."""

    outcome = "skipped"


class NotAnImage(ImageError):
    """The file is no image. Upload a JPEG, PNG, WebP, GIF, TIFF, BMP, ICO, AVIF or HEIC image."""

    outcome = "skipped"


class BrokenImage(ImageError):
    """The image is cut off or corrupt. Upload it again."""


class IncompleteImage(ImageError):
    """Less than half of the picture is in the file. Upload it again."""


class UnsupportedImage(ImageError):
    """This variant of the format isn't supported. Save the image as a plain JPEG or PNG and upload that."""

    @classmethod
    def variant(cls, name: str) -> UnsupportedImage:
        """The error that names the variant, such as `TIFF with 12 bits per sample`."""
        return cls(f"{name} isn't supported. Save the image as a plain JPEG or PNG and upload that.")


class ImageTooLarge(ImageError):
    """The file has too many bytes. Upload a smaller one or raise MAX_IMAGE_BYTES."""

    status = 413


class TooManyPixels(ImageError):
    """The image has too many pixels. Upload a smaller one or raise MAX_IMAGE_PIXELS."""


class ImageTooLong(ImageError):
    """The image is too long, or too long for its width. Upload a part of it."""


class TooManyScans(ImageError):
    """The JPEG refines itself in too many scans. Save it anew as a plain JPEG and upload it again."""


class DecodingTimedOut(ImageError):
    """Decoding the image took too long. Upload a smaller or simpler one, or raise MAX_DECODE_SECONDS."""


class DecoderCrashed(ImageError):
    """The process that decoded this image died of it. Save the image anew and upload it again."""

    outcome = "retry"


class DecodingOutOfMemory(ImageError):
    """Decoding the image takes too much memory. Upload a smaller one or raise MAX_DECODE_MEMORY."""


class StorageError(NeuralSearchError):
    """Storage gave an answer that we didn't expect. Its log says why."""

    status = 502
    internal = True
    outcome: ClassVar[Outcome] = "doubtful"


class ObjectNotFound(StorageError):
    """There is no such object, or you may not read it. Check bucket, name and policies."""

    status = 404
    outcome = "retry"


class StorageForbidden(StorageError):
    """Storage refuses the key or the caller's policies forbid this. Check the key and the policies."""

    status = 403
    outcome = "release"


class ObjectExists(StorageError):
    """There is an object with this name already. Choose another name, or send upsert=true to overwrite it."""

    status = 409
    outcome = "retry"


class StorageRefused(StorageError):
    """Storage doesn't accept this. Check the object's name, type and size, and what its bucket takes."""

    status = 400
    outcome: ClassVar[Outcome] = "retry"


class InvalidObjectName(StorageRefused):
    """Its name has `.` or `..` for a folder, which gateways may take for a way out of Storage, or is longer
    than Storage takes. Move the object to another name."""

    internal = False
    outcome = "failed"


class StaleObject(StorageError):
    """Storage sent other bytes than the object's row describes. It will be fetched again."""

    status = 503


class ObjectBlocked(StorageError):
    """A gateway or firewall lets this object alone not pass. See its log, or rename the object."""


class StorageUnavailable(StorageError):
    """Storage can't be reached or is overloaded. Try again later."""

    status = 503
    outcome = "release"


class DatabaseError(NeuralSearchError):
    """The database refused the statement. The log of the function has its words."""

    status = 502
    internal = True


class DatabaseForbidden(DatabaseError):
    """The database doesn't let this key do that. Check the key and that the migrations were applied."""

    status = 403
    outcome = "release"


class DatabaseOutdated(DatabaseError):
    """The database's migrations are of another version than this. Run `neural-search install`."""

    status = 503
    outcome = "release"


class DatabaseUnavailable(DatabaseError):
    """The database can't be reached or is overloaded. Try again later."""

    status = 503
    outcome: ClassVar[Outcome] = "release"


class DatabaseLocked(DatabaseUnavailable):
    """Somebody else has locked what this needs in the database. Try again later."""

    outcome = "wait"


class ModelError(NeuralSearchError):
    """The embedding model failed. The log of the function has the cause."""

    internal = True
    outcome = "release"


class UnknownModel(ModelError):
    """There is no such embedding model. Use a listed name, a hub name or a local path."""

    status = 400


class ModelNotLoaded(ModelError):
    """The active model isn't loaded in this process. Add it to EMBEDDING_MODELS and restart."""

    status = 503
    internal = False


class ModelBroken(ModelError):
    """The model's files are incomplete or don't fit together. Remove them from the cache and try again."""


class ModelUnresponsive(ModelError):
    """The model doesn't answer. It may still be loading; if it stays like this, restart the process."""

    status = 503


class TextUnsupported(ModelError):
    """The active model has no text side. Search by image, or activate a model that understands text."""

    status = 400
    internal = False


class Busy(NeuralSearchError):
    """Too much work is waiting here. Come back later."""

    status = 503


class CollectionError(NeuralSearchError):
    """This collection can't be evaluated. Its message says what is missing or wrong."""

    status = 400


class DecoderUnavailable(NeuralSearchError):
    """No process for decoding images can be started. Give this machine more memory, or try again later."""

    status = 503
    internal = True
    outcome = "release"


class DecoderStalled(NeuralSearchError):
    """Decoding took too long, but not of the CPU's time. The machine may be busy: try again later."""

    status = 503
    outcome = "doubtful"


class StackError(NeuralSearchError):
    """The embedded stack can't do that. `neural-search doctor` says what is wrong."""


def kinds(base: type[Error]) -> Iterator[type[Error]]:
    """`base` and all its subclasses."""
    yield base
    for child in base.__subclasses__():
        yield from kinds(child)
