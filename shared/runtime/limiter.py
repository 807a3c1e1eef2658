"""Bounds on the work, and on the memory for it, inside one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import Busy
from shared.runtime import disconnect


class ConcurrencyLimiter:
    """Lets a few through at a time while a few more wait, in the order of their arrival; the rest get Busy.

    A request whose client has hung up takes no place from others: it isn't let in, and stops waiting
    (ClientClosedRequest), at once where another one needs its place. While it ends its step it isn't counted.
    """

    def __init__(self, *, running: int, waiting: int):
        self._running, self._places = running, running + waiting
        self._turns: list[_Turn] = []  # in the order of arrival: the first `running` have been called
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """How many run or wait now."""
        return len(self._turns)

    @contextmanager
    def enter(self) -> Iterator[None]:
        turn = self._take()
        try:
            turn.wait()
            yield
        finally:
            self._leave(turn)

    def _take(self) -> _Turn:
        disconnect.check()
        turn = _Turn()
        with self._lock:
            if self._is_full():
                raise Busy(retry_after=5)
            self._turns.append(turn)
            self._call()
        return turn

    def _is_full(self) -> bool:
        if len(self._turns) < self._places:
            return False
        for turn in [turn for turn in self._turns[self._running :] if not turn.is_wanted()]:
            self._turns.remove(turn)
            turn.called.set()  # it finds that nobody waits for it
        ending = sum(not turn.is_wanted() for turn in self._turns[: self._running])
        return len(self._turns) - ending >= self._places

    def _leave(self, turn: _Turn) -> None:
        with self._lock:
            if turn in self._turns:
                self._turns.remove(turn)
            self._call()

    def _call(self) -> None:
        for turn in self._turns[: self._running]:
            turn.called.set()


class _Turn:
    """One request's, in the thread that works on it."""

    def __init__(self) -> None:
        self.is_wanted = disconnect.is_wanted()
        self.called = threading.Event()

    def wait(self) -> None:
        """Until it is called. ClientClosedRequest as soon as nobody waits for it any more."""
        is_called = False
        while not is_called:
            is_called = self.called.wait(disconnect.LOOK_SECONDS)
            disconnect.check()


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
