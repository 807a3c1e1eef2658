"""Uploading an image as the caller, and waiting until it can be found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import InvalidQuery
from shared.images import Decode
from shared.runtime.limiter import ConcurrencyLimiter
from shared.search import index
from shared.search.index import ObjectState
from shared.supabase.database import Database
from shared.supabase.storage import MAX_PATH, Storage, is_too_long

WAIT_SECONDS = 30.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An image and where it goes."""

    bucket: str
    name: str
    data: bytes
    upsert: bool = False

    def __post_init__(self) -> None:
        for field in ("bucket", "name"):
            if not getattr(self, field).strip("/ "):
                raise InvalidQuery(f"{field} is empty. Name the bucket and the object.", value=field)
        if "/" in self.bucket or not self.bucket.isprintable():
            raise InvalidQuery(
                f"bucket is {self.bucket!r:.100}. Expected a bucket's name; folders are part of `name`.",
                value=self.bucket,
            )
        if not self.name.isprintable():
            text = f"name is {self.name!r:.100}. Expected a path without control characters."
            raise InvalidQuery(text, value=self.name)
        if is_too_long(self.bucket, self.name):
            text = f"bucket and name have more than {MAX_PATH} bytes. Choose a shorter name."
            raise InvalidQuery(text, value=self.name)


def store(storage: Storage, upload: Upload, *, limiter: ConcurrencyLimiter, decode: Decode) -> str:
    """Puts the image into its bucket, with the type that its bytes show. Returns the object's id.

    Raises an ImageError for an unsearchable file: better now than later in `neural-search jobs`;
    Busy where `limiter` lets no more images be decoded at once.
    """
    with limiter.enter():
        decoded = decode(upload.data, min_side=1)
    return storage.upload(
        upload.bucket, upload.name, upload.data, mime_type=decoded.mime_type, upsert=upload.upsert
    )


def wait(
    database: Database,
    bucket: str,
    name: str,
    *,
    seconds: float = WAIT_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> ObjectState:
    """The object's state once it is settled, or when `seconds` are over."""
    deadline = clock() + seconds
    pause = POLL_SECONDS
    while True:
        [state] = index.object_states(database, bucket, [name])
        if state.state != "pending" or clock() >= deadline:
            return state
        sleep(pause)
        pause = min(pause * 1.5, 1.0)
