"""Working off the queue: what is due is claimed a little ahead and run in several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from shared import jobs
from shared.crew import Crew, Leased
from shared.images import Decode
from shared.leases import Leases
from shared.metrics import Metrics
from shared.models import Models
from shared.pipeline import Pipeline, Result
from shared.rpc import Database
from shared.storage import Storage

IDLE_SECONDS = 1.0  # between two looks at an empty queue


class Drain:
    """Claims what is due and runs it in `concurrency` threads. Any thread may call `run`."""

    def __init__(
        self,
        *,
        database: Callable[[], Database],
        pipeline: Pipeline,
        leases: Leases,
        models: Models,
        concurrency: int,
    ):
        self.reached = False  # whether the database has let us claim: URL, key and migrations are right
        self._database = database
        self.pipeline = pipeline
        self.leases = leases
        self._models = models
        self._concurrency = concurrency

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
        what hasn't begun is given back uncharged, what runs comes to its end, the fault is raised, once.
        """
        stop = stop or threading.Event()
        crew = Crew(self._concurrency, self._database, self.pipeline, self.leases, report, stop)
        self._manage(crew, lambda: self._feed(crew, limit, forever, stop))

    def work(self, batch: Sequence[Leased], report: Callable[[Result], None], stop: threading.Event) -> None:
        """Runs what is claimed already, one after the other. Ends as `run` does."""
        crew = Crew(1, self._database, self.pipeline, self.leases, report, stop)
        self._manage(crew, lambda: crew.add(batch))

    def _manage(self, crew: Crew, feed: Callable[[], None]) -> None:
        try:
            try:
                feed()
            except Exception as fault:
                crew.fail(fault)
            crew.finish()
        finally:
            crew.close()
        if crew.fault:
            raise crew.fault

    def _feed(self, crew: Crew, limit: int | None, forever: bool, stop: threading.Event) -> None:
        database = self._database()
        self.leases.settle(database)
        while limit != 0 and (room := crew.wait_for_room()):
            claimed_at = time.monotonic()
            most = room if limit is None else min(room, limit)
            with self.leases.claiming(database) as claim_id:
                batch = jobs.claim(database, self._models.names, most, claim_id)
            self.reached = True
            limit = limit and limit - len(batch)
            if batch:
                self._hand_over(crew, [Leased(job=job, claimed_at=claimed_at) for job in batch])
            elif forever:
                stop.wait(IDLE_SECONDS)
            elif not crew.finish():
                return

    def _hand_over(self, crew: Crew, batch: Sequence[Leased]) -> None:
        # The database hands out alone what may have killed its last worker. It gets no mates here either, or
        # they would go down with it and be charged as well. No wait is longer than a lease: what hangs must
        # not keep all that is due.
        alone = len(batch) == 1 and batch[0].job.attempt > 1
        if alone:
            crew.finish(jobs.LEASE_SECONDS)
        crew.add(batch)
        if alone:
            crew.finish(jobs.LEASE_SECONDS)


def build_worker(
    *,
    database: Callable[[], Database],
    storage: Storage,
    models: Models,
    decode: Decode,
    metrics: Metrics,
    max_bytes: int,
    concurrency: int,
    on_given_back: Callable[[int], None] = lambda _jobs: None,
) -> Drain:
    """A worker with its pipeline and its leases. `on_given_back` hears of how many jobs."""
    return Drain(
        database=database,
        pipeline=Pipeline(
            storage=storage, models=models, decode=decode, metrics=metrics, max_bytes=max_bytes
        ),
        leases=Leases(on_given_back),
        models=models,
        concurrency=concurrency,
    )
