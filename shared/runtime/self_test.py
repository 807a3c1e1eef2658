"""A self-test: a check that may hang, asked often and run seldom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

from shared.errors import ModelUnresponsive, NeuralSearchError

HOLD_SECONDS = 5.0  # how long a good answer holds
RETRY_SECONDS = 30.0  # and a bad one, where there never was a good one: loading may take long to fail
PATIENCE_SECONDS = 10.0  # how long the check may take, loading included

Answer = Future[NeuralSearchError | None]  # why the check failed


class SelfTest:
    """Any thread may ask. One check runs at a time; those who ask meanwhile wait for it."""

    def __init__(self, check: Callable[[], None], *, patience: float = PATIENCE_SECONDS):
        self.has_passed = False  # whether any check has
        self._check = check
        self._patience = patience
        self._lock = threading.Lock()
        self._running: Answer | None = None
        self._failed: Answer | None = None  # the last check that did, until one passes
        self._began = self._ended = float("-inf")

    def ask(self, *, anew: bool = False) -> None:
        """Raises the check's error; ModelUnresponsive where it doesn't end in time.

        A check that never passed is tried again in the background, and meanwhile fails as it did.
        """
        if failure := self.failure(self.start(anew=anew)):
            raise failure.anew()

    def failure(self, answer: Answer) -> NeuralSearchError | None:
        """What `ask` raises, for a check that `start` gave. It is kept: raise it `anew`."""
        if not wait([answer], max(0.0, self._began + self._patience - time.monotonic())).done:
            return ModelUnresponsive()
        return answer.result()

    def start(self, *, anew: bool = False) -> Answer:
        """Begins a check where the last answer doesn't hold any more, or one is wanted `anew`."""
        with self._lock:
            if self._running is None or (self._running.done() and (anew or not self._holds())):
                self._running = self._begin()
            never_passed = self._failed if not (self.has_passed or anew) else None
            return never_passed or self._running

    def _holds(self) -> bool:
        failure_holds = 0.0 if self.has_passed else RETRY_SECONDS
        return time.monotonic() - self._ended < (failure_holds if self._failed else HOLD_SECONDS)

    def _begin(self) -> Answer:
        if time.monotonic() - self._ended > 2 * RETRY_SECONDS:
            self._failed = None  # nobody has asked for long: the next one waits for the new answer
        self._began = time.monotonic()
        running: Answer = Future()
        # A daemon, in no pool: a check that hangs must not keep the process from ending.
        threading.Thread(target=self._run, args=(running,), name="self-test", daemon=True).start()
        return running

    def _run(self, running: Answer) -> None:
        try:
            self._check()
        except Exception as error:
            self._failed, self._ended = running, time.monotonic()
            running.set_result(_known(error))
        else:
            self._failed, self._ended = None, time.monotonic()
            self.has_passed = True
            running.set_result(None)


def _known(error: Exception) -> NeuralSearchError:
    if isinstance(error, NeuralSearchError):
        return error
    unexpected = NeuralSearchError()
    unexpected.__cause__ = error
    return unexpected
