"""A bound on the work inside one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Busy


class ConcurrencyLimiter:
    """Lets a few through at a time while a few more wait; the rest get Busy at once."""

    def __init__(self, *, running: int, waiting: int):
        self._places = threading.Semaphore(running + waiting)
        self._running = threading.Semaphore(running)
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """How many run or wait now."""
        return self._inside

    @contextmanager
    def enter(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Busy(retry_after=5)
        self._count(1)
        try:
            with self._running:
                yield
        finally:
            self._count(-1)
            self._places.release()

    def _count(self, change: int) -> None:
        with self._lock:
            self._inside += change
