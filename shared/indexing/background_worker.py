"""The work that goes on when a call has answered, so that the caller needn't wait for it."""

from __future__ import annotations

import threading

from shared.indexing.job_runner import Result
from shared.indexing.worker import Worker
from shared.runtime import logs

LINGERING_SECONDS = 1.0  # after which one more look finds jobs that were about to be committed at the last


class BackgroundWorker:
    """One run through the queue at a time, in a thread of its own. Any thread may wake it."""

    def __init__(self, worker: Worker, stopping: threading.Event):
        self._worker = worker
        self._stopping = stopping  # once set, it gives its leases back, and ends
        self._wanted = False
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def wake(self, patience: float = 0.0) -> None:
        """Has all due jobs done, and looks once more where it is at work already.

        Waits until nothing is due, for `patience` seconds at most.
        """
        with self._lock:
            self._wanted = True
            self._done.clear()
            if self._thread is None:
                # No daemon: a process that ends waits until its leases are given back.
                self._thread = threading.Thread(target=self._work, name="background worker")
                self._thread.start()
        self._done.wait(patience)

    def _work(self) -> None:
        while self._take_wish():
            try:
                self._run()
                self._stopping.wait(LINGERING_SECONDS)
                self._run()
            except Exception as fault:
                logs.write("work left to the schedule", severity="WARNING", error=fault)

    def _run(self) -> None:
        try:
            self._worker.run(_forget, stop=self._stopping)
        finally:
            self._done.set()

    def _take_wish(self) -> bool:
        with self._lock:
            taken, self._wanted = self._wanted and not self._stopping.is_set(), False
            if not taken:
                self._thread = None
            return taken


def _forget(_result: Result) -> None:
    """The log has it."""
