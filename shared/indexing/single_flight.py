"""Threads that work on the same bytes take turns, so that the later ones can take over the result."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PATIENCE_SECONDS = 20.0  # of a lease's 120. Then it goes on by itself: the other's image may be hostile
REMEMBERED = 10_000  # keys, of some 200 bytes


@dataclass
class _Flight:
    lock: threading.Lock = field(default_factory=threading.Lock)
    wanted: int = 0  # by so many threads


class SingleFlight:
    """One thread at a time for each key. Any thread may use it."""

    def __init__(self, *, patience: float = PATIENCE_SECONDS, remembered: int = REMEMBERED):
        self._patience = patience
        self._remembered = remembered
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight] = {}
        self._had: OrderedDict[Hashable, None] = OrderedDict()  # keys whose turn there was, the oldest first

    @contextmanager
    def turn(self, key: Hashable) -> Iterator[bool]:
        """Waits while another thread has the same key. True where one had it before, as far as remembered."""
        turn = self._want(key)
        mine = turn.lock.acquire(timeout=self._patience)
        try:
            yield key in self._had
        finally:
            self._done(key, turn)
            if mine:
                turn.lock.release()

    def _want(self, key: Hashable) -> _Flight:
        with self._lock:
            turn = self._flights.setdefault(key, _Flight())
            turn.wanted += 1
            return turn

    def _done(self, key: Hashable, turn: _Flight) -> None:
        with self._lock:
            self._had[key] = None
            if len(self._had) > self._remembered:
                self._had.popitem(last=False)
            turn.wanted -= 1
            if not turn.wanted:
                del self._flights[key]
