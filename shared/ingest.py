"""From an event to a stored vector: claim, download, decode, embed, finish."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from shared import jobs, logs
from shared.errors import (
    Busy,
    DatabaseError,
    DatabaseForbidden,
    DatabaseUnavailable,
    EmptyImage,
    ImageError,
    ImageTooLarge,
    ModelError,
    NeuralSearchError,
    NotAnImage,
    SettingsError,
    StorageForbidden,
    StorageUnavailable,
    Unauthorized,
)
from shared.events import DEFAULT_LIMIT, Event, Kick, ObjectChanged, ObjectDeleted
from shared.gate import Gate
from shared.images import DecodedImage
from shared.jobs import Job
from shared.metrics import Metrics
from shared.models import Models
from shared.rpc import Database
from shared.storage import Storage

BATCH = 4  # jobs per claim: few enough that the last one's lease outlasts slow downloads of the others
FAULT_SECONDS = 15  # how long released jobs rest where the fault itself names no time

# No fault of the image: it isn't charged with an attempt, and the caller comes back later.
FAULTS = (
    DatabaseUnavailable,
    DatabaseForbidden,
    StorageUnavailable,
    StorageForbidden,
    ModelError,
    SettingsError,
    Unauthorized,
)

# What claim_object answers besides claimed jobs -> what we tell the caller.
UNCLAIMED = {
    "unchanged": "unchanged",
    "waiting": "unchanged",
    "skipped": "skipped",
    "ignored": "skipped",
    "failed": "failed",
    "gone": "gone",
}


class Decode(Protocol):
    """A file's bytes to its picture, or the ImageError that says why there is none."""

    def __call__(self, data: bytes, *, min_side: int | None) -> DecodedImage: ...


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one object."""

    object_id: str
    bucket: str | None
    name: str | None
    status: str  # embedded, unchanged, skipped, superseded, gone or failed
    reason: str | None = None


class Ingest:
    """Works on what the database says is to be done. One per process; any thread may call it."""

    def __init__(
        self,
        *,
        database: Callable[[], Database],
        storage: Storage,
        models: Models,
        gate: Gate,
        metrics: Metrics,
        decode: Decode,
        max_bytes: int,
    ):
        self._database = database
        self._storage = storage
        self._models = models
        self._gate = gate
        self._metrics = metrics
        self._decode = decode
        self._max_bytes = max_bytes

    def handle(self, event: Event) -> list[Result]:
        """Acts on an event. Raises Busy before anything is claimed, one of FAULTS after giving it back."""
        if isinstance(event, ObjectDeleted):
            reason = "It was deleted, and its documents with it: nothing to do."
            return [_result(event.object_id, event.bucket_id, event.name, "gone", reason)]
        with self._gate.enter():
            results = self._act(event)
        self._make_up_for_the_turned_away()
        return results

    def _act(self, event: ObjectChanged | Kick) -> list[Result]:
        return self.work_off(event.limit) if isinstance(event, Kick) else self.work_on(event.object_id)

    def _make_up_for_the_turned_away(self) -> None:
        """In a burst most calls get Busy. Their jobs are done here, not only by the next scheduled kick.

        Asked when our place is free again: whoever found it taken is known by now, nobody finds it so later.
        All that is due is done: a job that we take may be that of a call that waits, not of one that left.
        """
        if not self._gate.take_turned_away():
            return
        with suppress(Busy), self._gate.enter():  # Busy: others are here, and will ask in their turn
            self.work_off(DEFAULT_LIMIT)

    def work_on(self, object_id: str) -> list[Result]:
        """Embeds one object with every model that wants it, or says why there is nothing to do."""
        database = self._database()
        claim = jobs.claim_object(database, object_id, self._models.names)
        if not claim.jobs:
            return [_result(object_id, claim.bucket_id, claim.name, UNCLAIMED[claim.status], claim.reason)]
        return self._work(database, claim.jobs)

    def work_off(self, limit: int) -> list[Result]:
        """Embeds what is due, up to `limit` jobs."""
        database = self._database()
        results: list[Result] = []
        while limit > len(results):
            batch = jobs.claim(database, self._models.names, min(BATCH, limit - len(results)))
            if not batch:
                break
            results += self._work(database, batch)
        return results

    def _work(self, database: Database, batch: Sequence[Job]) -> list[Result]:
        results = []
        for position, job in enumerate(batch):
            try:
                results.append(self._work_job(database, job))
            except (*FAULTS, DatabaseError) as fault:
                self._give_back(database, batch[position:], fault)
                raise
        return results

    def _work_job(self, database: Database, job: Job) -> Result:
        try:
            status, reason = self._embed(database, job), None
        except FAULTS:
            raise
        except ImageError as error:
            outcome = "skipped" if isinstance(error, EmptyImage | NotAnImage) else "failed"
            status, reason = jobs.fail(database, job, outcome, error), _reason(error)
        except Exception as error:  # whatever this image does to us must not reach the others
            logs.write("attempt failed", severity="ERROR", error=error, **_about(job))
            status, reason = jobs.fail(database, job, "retry", error), _reason(error)
        if status == "retry":
            status, reason = "failed", f"{reason} It will be tried again."
        self._metrics.object(status)
        logs.write(status, reason=reason, attempt=job.attempt, **_about(job))
        return _result(job.object_id, job.bucket_id, job.name, status, reason)

    def _embed(self, database: Database, job: Job) -> str:
        _check_worth_a_download(job, self._max_bytes)
        embedder = self._models.get(job.model)
        with self._metrics.step("download"):
            data = self._storage.download(
                job.bucket_id,
                job.name,
                version=job.version,
                size=job.size,
                etag=job.etag,
                max_bytes=self._max_bytes,
            )
        with self._metrics.step("decode"):
            decoded = self._decode(data, min_side=embedder.image_size)
        with self._metrics.step("embed"):
            vector = embedder.embed_images([decoded.picture])[0]
        with self._metrics.step("store"):
            return jobs.finish(
                database,
                job,
                vector,
                content_hash=hashlib.sha256(data).hexdigest(),
                width=decoded.width,
                height=decoded.height,
                mime_type=decoded.mime_type,
            )

    def _give_back(self, database: Database, batch: Sequence[Job], fault: NeuralSearchError) -> None:
        delay = fault.retry_after or FAULT_SECONDS
        logs.write("jobs given back", severity="WARNING", error=fault, jobs=len(batch))
        try:
            jobs.release(database, batch, delay, fault)
        except DatabaseError as error:  # the database itself is the fault: the leases run out by themselves
            logs.write("leases left to expire", severity="WARNING", error=error, jobs=len(batch))


def _check_worth_a_download(job: Job, max_bytes: int) -> None:
    if job.name.endswith(".emptyFolderPlaceholder"):
        raise EmptyImage("This is a folder's placeholder, not an image.")
    if job.size == 0:
        raise EmptyImage()
    if job.size is not None and job.size > max_bytes:
        raise ImageTooLarge(f"The object has {job.size} bytes, more than {max_bytes} (MAX_IMAGE_BYTES).")


def _result(object_id: str, bucket: str | None, name: str | None, status: str, reason: str | None) -> Result:
    return Result(object_id=object_id, bucket=bucket, name=name, status=status, reason=reason)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _about(job: Job) -> dict[str, Any]:
    return {"object_id": job.object_id, "bucket": job.bucket_id, "name": job.name, "model": job.model}
