"""Counts concurrent callers: a lone caller gets all cores, several get one stream each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

LASTS = 1.0  # seconds for which callers who met are expected to meet again


class InFlight:
    """Counts the callers that are inside at a time. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._lock = Lock()
        self._inside = 0
        self._until = clock()

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Come in and, with the block, leave. Whether nobody else is inside, nor did callers meet of late."""
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                self._until = self._clock() + LASTS
            alone = self._clock() >= self._until
        try:
            yield alone
        finally:
            with self._lock:
                self._inside -= 1
