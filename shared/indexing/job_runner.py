"""One job, from its lease to its stored vector: download, decode, embed, store; or take over a copy's."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.Image import Image

from shared.errors import (
    EmptyImage,
    ImageError,
    ImageTooLarge,
    InvalidObjectName,
    ModelBroken,
    ModelError,
    NeuralSearchError,
    ObjectBlocked,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.images import DECODER_VERSION, Decode, DecodedImage
from shared.images.perceptual_hash import perceptual_hash
from shared.indexing import queue
from shared.indexing.group_commit import GroupCommit
from shared.indexing.queue import Embedded, Job
from shared.indexing.single_flight import SingleFlight
from shared.runtime import logs
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import LoadedModel, ModelRegistry
from shared.supabase.database import Database
from shared.supabase.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Result:
    """One object's result."""

    object_id: str
    bucket: str | None
    name: str | None
    status: str  # embedded, unchanged, skipped, superseded, gone or failed
    reason: str | None = None


class JobRunner:
    """Works on one leased job at a time per thread; any number of threads may use it."""

    def __init__(
        self,
        *,
        storage: Storage,
        models: ModelRegistry,
        decode: Decode,
        metrics: Metrics,
        max_bytes: int,
        commits: GroupCommit,
    ):
        self._storage = storage
        self._models = models
        self._decode = decode
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._commits = commits
        self._single_flight = SingleFlight()

    def run(self, database: Database, job: Job, claimed_at: float) -> Result:
        """The job's result; `claimed_at` is `time.monotonic()` before it was claimed.

        Raises an error of the outcome `release` where the surroundings are at fault, of the outcome `wait`
        where somebody else has this object's rows, or a DatabaseError where the outcome can't be recorded.
        The lease is then still ours, to be given back.
        """
        try:
            status, reason = self._embed(database, job), None
        except Exception as error:  # no image may harm the others
            outcome = error.outcome if isinstance(error, NeuralSearchError) else "retry"
            if outcome in ("release", "wait"):
                raise
            if not isinstance(error, ImageError | InvalidObjectName):  # which are the uploader's
                # An overwrite between claim and download is everyday life.
                severity = "WARNING" if isinstance(error, StorageError) else "ERROR"
                logs.write("attempt failed", severity=severity, error=error, **_about(job))
            status, reason = _fail(database, job, outcome, error), _reason(error)
        if status == "retry":
            status, reason = "failed", f"{reason} It will be tried again."
        self._metrics.object(status)
        if status == "embedded":
            self._metrics.fresh(job.waited_seconds + time.monotonic() - claimed_at)
        logs.write(status, reason=reason, attempt=job.attempt, **_about(job))
        return Result(
            object_id=job.object_id, bucket=job.bucket_id, name=job.name, status=status, reason=reason
        )

    def _embed(self, database: Database, job: Job) -> str:
        _check_worth_a_download(job, self._max_bytes)
        embedder = self._models.proven(job.model)  # a model that was broken before is no fault of this image
        with self._metrics.step("download"):
            data = self._download(job)
        content_hash = hashlib.sha256(data).hexdigest()
        with self._single_flight.turn((job.model, content_hash)) as had:
            if had or job.known_hashes is None or content_hash in job.known_hashes:
                with self._metrics.step("reuse"):
                    status = queue.reuse(database, job, content_hash, DECODER_VERSION)
                if status != "unknown":
                    return status
            with self._metrics.step("decode"):
                decoded = self._decode(data, min_side=embedder.image_size)
            del data  # many may wait for the model at a time, with no more than their pictures
            return self._make(database, job, embedder, decoded, content_hash)

    def _make(
        self, database: Database, job: Job, embedder: LoadedModel, decoded: DecodedImage, content_hash: str
    ) -> str:
        if decoded.shown < 1:
            logs.write("cut off", severity="WARNING", shown=round(decoded.shown, 3), **_about(job))
        with self._metrics.step("embed"):
            vector = self._vector(database, job, embedder, decoded.picture)
        with self._metrics.step("store"):
            return self._commits.store(database, embedded(job, decoded, vector, content_hash))

    def _download(self, job: Job) -> bytes:
        try:
            return download(self._storage, job, self._max_bytes)
        except (StorageForbidden, StorageUnavailable) as refusal:
            # A firewall may dislike one object's name or bytes: then the others must not wait for it.
            if refusal.retry_after or not self._storage.answers(job.bucket_id):
                raise
            raise ObjectBlocked(
                f"{refusal} Its bucket answers otherwise, so a gateway or firewall lets this object alone "
                "not pass. See its log, or rename the object."
            ) from refusal

    def _vector(self, database: Database, job: Job, embedder: LoadedModel, picture: Image) -> np.ndarray:
        try:
            vector: np.ndarray = embedder.embed_images([picture])[0]
        except Exception as error:
            self._check_model(database, job, error)
            raise
        return vector

    def _check_model(self, database: Database, job: Job, error: Exception) -> None:
        """Where the model can't embed anything any more, this image is suspected: it was well before.

        One whose kernel fails on a GPU breaks the whole process. It isn't charged the first times, as others
        may have been embedded beside it, but it must not come back for ever.
        """
        try:
            self._models.self_test(job.model, anew=True)
        except ModelError as broken:
            cause = ModelBroken(f"The model broke down on this image: {type(error).__name__}: {error}")
            queue.fail(database, job, "doubtful", cause)
            raise broken from error


def download(storage: Storage, job: Job, max_bytes: int) -> bytes:
    """The bytes of the object's version that the job speaks of."""
    return storage.download(
        job.bucket_id,
        job.name,
        version=job.version,
        size=job.size,
        etag=job.etag,
        max_bytes=max_bytes,
    )


def embedded(job: Job, decoded: DecodedImage, vector: np.ndarray, content_hash: str) -> Embedded:
    """The job's vector with the facts of its picture, to be stored."""
    return Embedded(
        job=job,
        embedding=vector,
        content_hash=content_hash,
        width=decoded.width,
        height=decoded.height,
        mime_type=decoded.mime_type,
        perceptual_hash=perceptual_hash(decoded.picture),
        shown=decoded.shown,
        decoder_version=DECODER_VERSION,
    )


def _check_worth_a_download(job: Job, max_bytes: int) -> None:
    if job.name.endswith(".emptyFolderPlaceholder"):
        raise EmptyImage("This is a folder's placeholder, not an image.")
    if job.size == 0:
        raise EmptyImage()
    if job.size is not None and job.size > max_bytes:
        raise ImageTooLarge(f"The object has {job.size} bytes, more than {max_bytes} (MAX_IMAGE_BYTES).")


def _fail(database: Database, job: Job, outcome: str, error: Exception) -> str:
    # Size limits are settings: no decoder has looked at those bytes.
    refused = isinstance(error, ImageError) and not isinstance(error, (EmptyImage, ImageTooLarge))
    return queue.fail(database, job, outcome, error, DECODER_VERSION if refused else None)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _about(job: Job) -> dict[str, Any]:
    return {"object_id": job.object_id, "bucket": job.bucket_id, "name": job.name, "model": job.model}
