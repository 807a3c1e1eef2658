"""From an event to stored vectors, within the bounds of a process that answers HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from shared.errors import Busy
from shared.images import Decode
from shared.indexing import queue
from shared.indexing.job_runner import Result
from shared.indexing.queue import Job
from shared.indexing.webhook import DEFAULT_LIMIT, Event, Kick, ObjectChanged, ObjectDeleted
from shared.indexing.worker import build_worker
from shared.runtime import logs
from shared.runtime.limiter import ConcurrencyLimiter
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.supabase.database import Database
from shared.supabase.storage import Storage

CONCURRENCY = 4  # jobs that one kick runs at a time: there are no more decoders

# What claim_object answers besides claimed jobs -> what we tell the caller.
UNCLAIMED = {
    "unchanged": "unchanged",
    "waiting": "unchanged",
    "skipped": "skipped",
    "ignored": "skipped",
    "failed": "failed",
    "gone": "gone",
}


class WebhookHandler:
    """Works on what the database says is to be done. One per process; any thread may call it."""

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
    ):
        self._database = database
        self._models = models
        self._limiter = limiter
        self._worker = build_worker(
            database=database,
            storage=storage,
            models=models,
            decode=decode,
            metrics=metrics,
            max_bytes=max_bytes,
            concurrency=CONCURRENCY,
        )

    def handle(self, event: Event) -> list[Result]:
        """Acts on an event. Raises Busy before anything is claimed, faults after giving it back."""
        if isinstance(event, ObjectDeleted):
            reason = "It was deleted, and its documents with it: nothing to do."
            return [_result(event.object_id, event.bucket_id, event.name, "gone", reason)]
        with self._limiter.enter():
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
        if not self._limiter.take_turned_away():
            return
        try:
            with self._limiter.enter():
                self.work_off(DEFAULT_LIMIT)
        except Busy:
            pass  # others are here, and will ask in their turn
        except Exception as fault:  # our own caller's work is done, and that is what it is told
            logs.write("turned away work left to the schedule", severity="WARNING", error=fault)

    def work_on(self, object_id: str) -> list[Result]:
        """Embeds one object with every model that wants it, or says why there is nothing to do."""
        database = self._database()
        claimed_at = time.monotonic()
        with self._worker.leases.claiming(database) as claim_id:
            claim = queue.claim_object(database, object_id, self._models.names, claim_id)
        if claim.jobs:
            return self._work(database, claim.jobs, claimed_at)
        status = UNCLAIMED[claim.status]
        logs.write(status, object_id=object_id, bucket=claim.bucket_id, name=claim.name, reason=claim.reason)
        return [_result(object_id, claim.bucket_id, claim.name, status, claim.reason)]

    def work_off(self, limit: int) -> list[Result]:
        """Embeds what is due, up to `limit` jobs."""
        results: list[Result] = []
        self._worker.run(results.append, limit=limit)
        return results

    def _work(self, database: Database, batch: Sequence[Job], claimed_at: float) -> list[Result]:
        results = []
        for position, job in enumerate(batch):
            try:
                results.append(self._worker.runner.run(database, job, claimed_at))
            except Exception as fault:
                self._worker.leases.give_back(database, batch[position:], fault)
                raise
        return results


def _result(object_id: str, bucket: str | None, name: str | None, status: str, reason: str | None) -> Result:
    return Result(object_id=object_id, bucket=bucket, name=name, status=status, reason=reason)
