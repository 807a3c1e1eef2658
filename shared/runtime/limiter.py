"""Bounds on the work, and on the memory for it, inside one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
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
