"""Working off the queue: due jobs are claimed a little ahead and run in several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from shared.errors import DatabaseUnavailable
from shared.images import Decode
from shared.indexing import queue
from shared.indexing.group_commit import LARGEST, GroupCommit
from shared.indexing.job_runner import JobRunner, Result
from shared.indexing.leases import FAULT_SECONDS, Leases
from shared.indexing.queue import Job
from shared.indexing.worker_pool import Leased, WorkerPool
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.supabase.database import Database
from shared.supabase.storage import Storage

IDLE_SECONDS = 1.0  # between two looks at an empty queue
LEAST = 24  # jobs at a time: on two cores enough to keep the model busy while half of them wait to be stored
PER_DECODER = 8  # at a time: more would wait for their turn until their leases end


def jobs_at_a_time(*, joined: int, decoders: int) -> int:
    """As many as keep a model busy that takes `joined` images at once.

    Two batches: one is computed, the decoders fill the next; and those that wait to be stored together. No
    more files or pictures are held in memory.
    """
    return max(LEAST, min(2 * joined, PER_DECODER * decoders) + LARGEST)


class Worker:
    """Claims due jobs and runs them in `concurrency` threads. Any thread may call `run`."""

    def __init__(
        self,
        *,
        database: Callable[[], Database],
        runner: JobRunner,
        leases: Leases,
        models: ModelRegistry,
        concurrency: int,
    ):
        self.reached = False  # whether the database has let us claim: URL, key and migrations are right
        self._singly = 0  # claims that are still to be of one job each
        self._database = database
        self._runner = runner
        self.leases = leases
        self._models = models
        self.concurrency = concurrency

    def run(
        self,
        report: Callable[[Result], None],
        *,
        limit: int | None = None,
        forever: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        """Works until nothing is due (or forever), or `limit` jobs were claimed, or `stop` is set.

        `report` gets each outcome, from the thread that has it. A fault of the surroundings ends the run:
        waiting jobs are given back uncharged, running ones come to their end, the fault is raised, once.
        """
        stop = stop or threading.Event()
        pool = WorkerPool(self.concurrency, self._database, self._runner, self.leases, report, stop)
        self._manage(pool, lambda: self._feed(pool, limit, forever, stop))

    def work(self, batch: Sequence[Leased], report: Callable[[Result], None], stop: threading.Event) -> None:
        """Runs claimed jobs, one after the other. Ends as `run` does."""
        pool = WorkerPool(1, self._database, self._runner, self.leases, report, stop)
        self._manage(pool, lambda: pool.add(batch))

    def _manage(self, pool: WorkerPool, feed: Callable[[], None]) -> None:
        try:
            try:
                feed()
            except Exception as fault:
                pool.fail(fault)
            pool.finish()
        finally:
            pool.close()
        if pool.fault:
            raise pool.fault

    def _feed(self, pool: WorkerPool, limit: int | None, forever: bool, stop: threading.Event) -> None:
        database = self._database()
        self.leases.settle(database)
        while limit != 0 and (room := pool.wait_for_room()):
            claimed_at = time.monotonic()
            most = room if limit is None else min(room, limit)
            batch = self._claim(database, most)
            self.reached = True
            limit = limit and limit - len(batch)
            if batch:
                self._hand_over(pool, [Leased(job=job, claimed_at=claimed_at) for job in batch])
            elif forever:
                stop.wait(IDLE_SECONDS)
            elif not pool.finish():
                return

    def _claim(self, database: Database, most: int) -> list[Job]:
        """Up to `most` due jobs; one at a time after a claim failed: its answer may be beyond reading."""
        limit = 1 if self._singly else most
        try:
            with self.leases.claiming(database, FAULT_SECONDS if limit == 1 else 0) as claim_id:
                batch = queue.claim(database, self._models.names, limit, claim_id)
        except DatabaseUnavailable:
            self._singly = most
            raise
        self._singly = max(self._singly - 1, 0) if batch else 0
        return batch

    def _hand_over(self, pool: WorkerPool, batch: Sequence[Leased]) -> None:
        # The database hands out alone a job that may have killed its last worker. It gets no mates here, or
        # they would go down with it and be charged as well. No wait is longer than a lease: a hanging job
        # must not keep the others.
        alone = len(batch) == 1 and batch[0].job.attempt > 1
        if alone:
            pool.finish(queue.LEASE_SECONDS)
        pool.add(batch)
        if alone:
            pool.finish(queue.LEASE_SECONDS)


def build_worker(
    *,
    database: Callable[[], Database],
    storage: Storage,
    models: ModelRegistry,
    decode: Decode,
    metrics: Metrics,
    max_bytes: int,
    concurrency: int,
    patience: float = 0.0,
    largest: int | None = None,
    on_given_back: Callable[[int], None] = lambda _jobs: None,
) -> Worker:
    """A worker with its job runner and its leases.

    A vector waits for others for `patience` seconds, to be stored with them in one round trip, `largest` at
    most. `on_given_back` gets the number of jobs.
    """
    return Worker(
        database=database,
        runner=JobRunner(
            storage=storage,
            models=models,
            decode=decode,
            metrics=metrics,
            max_bytes=max_bytes,
            commits=GroupCommit(concurrency, patience, largest),
        ),
        leases=Leases(on_given_back),
        models=models,
        concurrency=concurrency,
    )
