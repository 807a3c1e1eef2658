"""The threads of one run through the queue, and the claimed jobs that wait for one of them."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass

from shared.errors import Busy, NeuralSearchError
from shared.indexing.job_runner import JobRunner, Result
from shared.indexing.leases import Leases
from shared.indexing.queue import Job
from shared.supabase.database import Database

MOST_AHEAD = 64  # claimed jobs that wait: at 4 images a second the last one begins in time
BEGIN_SECONDS = 20.0  # of a lease's 120: after them the rest may not suffice for the slowest image
GRACE_SECONDS = 5.0  # how long running jobs may take to end once the run was told to stop
TICK_SECONDS = 0.25  # how soon a stop is seen: a signal's handler can't wake a thread that waits


@dataclass(frozen=True, kw_only=True)
class Leased:
    """A claimed job, and when its lease began at the latest."""

    job: Job
    claimed_at: float  # time.monotonic()


class WorkerPool:
    """Every job that it is given ends in exactly one way: reported, or given back."""

    def __init__(
        self,
        size: int,
        database: Callable[[], Database],
        runner: JobRunner,
        leases: Leases,
        report: Callable[[Result], None],
        stop: threading.Event,
    ):
        self.fault: Exception | None = None  # the first one; it ends the run
        self._size = size
        self._database = database
        self._runner = runner
        self._leases = leases
        self._report = report
        self._stop = stop
        self._ahead: deque[Leased] = deque()
        self._running: dict[str, Leased] = {}  # by lease
        self._threads = 0
        self._postponed = False
        self._closed = False
        self._changed = threading.Condition()

    def wait_for_room(self) -> int:
        """How many jobs to claim now; 0 once no more are wanted.

        At most twice as many wait as run: few enough for their leases, and a claim costs little per job.
        """
        ahead = min(2 * self._size, MOST_AHEAD)
        with self._changed:
            while not (self.fault or self._stop.is_set()):
                room = self._size + ahead - len(self._running) - len(self._ahead)
                if room >= ahead // 2:
                    return room
                self._changed.wait(TICK_SECONDS)
            return 0

    def add(self, batch: Sequence[Leased]) -> None:
        """Hands over claimed jobs. The first ones start the threads: most looks at the queue find nothing."""
        with self._changed:
            fault = self.fault
            if not fault:
                self._ahead.extend(batch)
                self._start(len(batch))
        if fault:  # a thread met it while these were being claimed
            self._give_back(batch, fault)

    def _start(self, jobs: int) -> None:
        self._changed.notify_all()
        for _ in range(min(jobs, self._size - self._threads)):
            self._threads += 1
            # A daemon: a download that hangs must not keep a process that was told to stop.
            run = copy_context().run  # its log names the request
            threading.Thread(target=run, args=(self._work,), name="worker", daemon=True).start()

    def fail(self, fault: Exception, *stopped: Leased) -> None:
        """Ends the run: gives back `stopped` and all that hasn't begun."""
        with self._changed:
            self.fault = self.fault or fault
            ahead = self._take_ahead()
        self._give_back([*stopped, *ahead], fault)

    def finish(self, patience: float = math.inf) -> bool:
        """Waits for all that was added, for `patience` seconds at most, or until it is told to stop.

        True where, since this was last called, a job waited too long for its turn: it is due again.
        """
        until = time.monotonic() + patience
        with self._changed:
            while (self._ahead or self._running) and not self._stop.is_set() and time.monotonic() < until:
                self._changed.wait(TICK_SECONDS)
            postponed, self._postponed = self._postponed, False
            return postponed

    def close(self) -> None:
        """Gives waiting jobs back, waits a little for running ones, and gives those back as well."""
        stopped = Busy("The work was stopped. The image is due again.")
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._give_back(self._take_ahead(), stopped, delay=0)
        with self._changed:
            self._changed.wait_for(lambda: not self._running, GRACE_SECONDS)
            late = list(self._running.values())
        self._give_back(late, stopped, delay=0)

    def _work(self) -> None:
        while leased := self._next():
            try:
                self._report(self._runner.run(self._database(), leased.job, leased.claimed_at))
            except Exception as fault:
                if isinstance(fault, NeuralSearchError) and fault.outcome == "wait":
                    self._give_back([leased], fault)
                else:
                    self.fail(fault, leased)
            finally:
                self._done(leased)

    def _next(self) -> Leased | None:
        """The next job that is to run, marked as running; None where there will be none any more."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ahead or self._closed)
                if self._closed or self._stop.is_set():
                    return None
                leased = self._ahead.popleft()
                self._running[leased.job.lease_id] = leased
                self._changed.notify_all()
            if time.monotonic() - leased.claimed_at < BEGIN_SECONDS:
                return leased
            waited = Busy("It waited too long for its turn. The image is due again.")
            self._give_back([leased], waited, delay=0)
            self._postponed = True
            self._done(leased)

    def _done(self, leased: Leased) -> None:
        with self._changed:
            self._running.pop(leased.job.lease_id, None)
            self._changed.notify_all()

    def _take_ahead(self) -> list[Leased]:
        with self._changed:
            taken = list(self._ahead)
            self._ahead.clear()
            return taken

    def _give_back(self, batch: Sequence[Leased], reason: Exception, delay: int | None = None) -> None:
        if batch:
            self._leases.give_back(self._database(), [leased.job for leased in batch], reason, delay)
