"""Bounds on the work, and on the memory for it, inside one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import Busy

LOOK_SECONDS = 0.25  # between two looks whether the caller still waits


def _stays() -> None:
    """For work that goes on without its caller."""


class ConcurrencyLimiter:
    """Lets a few through at a time while a few more wait; the rest get Busy at once.

    `check` raises where the caller has gone: it is asked while one waits, and before one goes on.
    """

    def __init__(self, *, running: int, waiting: int, check: Callable[[], None] = _stays):
        self._places = threading.Semaphore(running + waiting)
        self._running = threading.Semaphore(running)
        self._check = check
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """How many run or wait now."""
        return self._inside

    @contextmanager
    def enter(self) -> Iterator[Callable[[], None]]:
        """A place, with the check to repeat between parts of the work."""
        if not self._places.acquire(blocking=False):
            raise Busy(retry_after=5)
        self._count(1)
        try:
            while not self._running.acquire(timeout=LOOK_SECONDS):
                self._check()
            try:
                self._check()
                yield self._check
            finally:
                self._running.release()
        finally:
            self._count(-1)
            self._places.release()

    def _count(self, change: int) -> None:
        with self._lock:
            self._inside += change


class MemoryLimiter:
    """Lets requests hold so many bytes together; a request beyond them gets Busy."""

    def __init__(self, most: int):
        self._left = most
        self._lock = threading.Lock()

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """A request's own: call it with the number of bytes that come; all are given back at the end."""
        held = 0

        def take(size: int) -> None:
            nonlocal held
            with self._lock:
                if size > self._left:
                    raise Busy(retry_after=5)
                self._left -= size
                held += size

        try:
            yield take
        finally:
            with self._lock:
                self._left += held
