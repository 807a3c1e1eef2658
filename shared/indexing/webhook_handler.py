"""From an event to stored vectors, within the bounds of a process that answers HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from shared.errors import Busy, DatabaseOutdated
from shared.images import Decode
from shared.indexing import queue
from shared.indexing.background_worker import BackgroundWorker
from shared.indexing.job_runner import Result
from shared.indexing.webhook import Event, Kick, ObjectChanged, ObjectDeleted
from shared.indexing.worker import build_worker
from shared.indexing.worker_pool import Leased
from shared.runtime import logs
from shared.runtime.limiter import ConcurrencyLimiter
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.supabase.database import Database
from shared.supabase.storage import Storage

CONCURRENCY = 4  # jobs that one kick runs at a time: there are no more decoders
WORKING_SECONDS = 7.0  # then a kick claims no more and answers: pg_net waits 10 s
# pg_net sends in batches, and the project's other webhooks wait for the slowest call of a batch.
# Where a platform gives a process its CPU during calls alone, some work is done in this time.
PATIENCE_SECONDS = 0.5

# claim_object's status without claimed jobs -> the result's status.
UNCLAIMED = {
    "unchanged": "unchanged",
    "waiting": "unchanged",
    "skipped": "skipped",
    "ignored": "skipped",
    "failed": "failed",
    "gone": "gone",
}


class Deadline(threading.Event):
    """Set from a moment on (monotonic seconds), or as soon as another event is."""

    def __init__(self, until: float, other: threading.Event):
        super().__init__()
        self._until, self._other = until, other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set() or time.monotonic() >= self._until


class WebhookHandler:
    """Works on the jobs that the database names. One per process; any thread may call it."""

    def __init__(
        self,
        *,
        database: Callable[[], Database],
        storage: Storage,
        models: ModelRegistry,
        limiter: ConcurrencyLimiter,
        metrics: Metrics,
        decode: Decode,
        max_bytes: int,
        stopping: threading.Event,
    ):
        self._database = database
        self._models = models
        self._limiter = limiter
        self._stopping = stopping  # once set, nothing is claimed and leases are given back
        self._worker = build_worker(
            database=database,
            storage=storage,
            models=models,
            decode=decode,
            metrics=metrics,
            max_bytes=max_bytes,
            concurrency=CONCURRENCY,
        )
        self._background = BackgroundWorker(self._worker, stopping)

    def handle(self, event: Event) -> list[Result]:
        """Acts on an event. Raises Busy before anything is claimed, faults after giving it back."""
        if isinstance(event, ObjectDeleted):
            reason = "It was deleted, and its documents with it: nothing to do."
            return [_result(event.object_id, event.bucket_id, event.name, "gone", reason)]
        with self._limiter.enter():
            if self._stopping.is_set():
                raise Busy("This process is about to end. The image stays due.", retry_after=5)
            if not event.wait:
                self._background.wake(PATIENCE_SECONDS)
                return []
            return self._changed(event.object_id) if isinstance(event, ObjectChanged) else self._kicked(event)

    def _changed(self, object_id: str) -> list[Result]:
        results = self.work_on(object_id)
        self._background.wake()  # few calls are made at a time: objects beside this one are done too
        return results

    def _kicked(self, kick: Kick) -> list[Result]:
        results: list[Result] = []
        stop = Deadline(time.monotonic() + WORKING_SECONDS, self._stopping)
        self._worker.run(results.append, limit=kick.limit, stop=stop)
        return results

    def work_on(self, object_id: str) -> list[Result]:
        """Embeds one object with every model that wants it, or says why there is nothing to do."""
        database = self._database()
        claimed_at = time.monotonic()
        with self._worker.leases.claiming(database) as claim_id:
            claim = queue.claim_object(database, object_id, self._models.names, claim_id)
        if claim.jobs:
            results: list[Result] = []
            batch = [Leased(job=job, claimed_at=claimed_at) for job in claim.jobs]
            self._worker.work(batch, results.append, self._stopping)
            if not results:
                raise Busy("The work on it was given back. The image is due again.", retry_after=5)
            return results
        status = UNCLAIMED.get(claim.status)
        if status is None:
            raise DatabaseOutdated(f"claim_object answered {claim.status!r}, which isn't known here.")
        logs.write(status, object_id=object_id, bucket=claim.bucket_id, name=claim.name, reason=claim.reason)
        return [_result(object_id, claim.bucket_id, claim.name, status, claim.reason)]


def _result(object_id: str, bucket: str | None, name: str | None, status: str, reason: str | None) -> Result:
    return Result(object_id=object_id, bucket=bucket, name=name, status=status, reason=reason)
