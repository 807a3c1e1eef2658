"""A lost connection: how long the uploads wait for it, together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 120.0  # since the last success
BRIEF_SECONDS = 5.0  # where nothing has ever worked: the address or the stack is wrong
LONGEST_PAUSE = 10.0


class Outage:
    """Shared by all uploading threads: the patience runs from the first failure after a success."""

    def __init__(self, say: Callable[[str], None]):
        self._say = say
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._since: float | None = None
        self._worked = False

    def over(self) -> None:
        with self._lock:
            self._since, self._worked = None, True

    def wait(self, attempt: int, reason: str) -> bool:
        """Pauses before the next attempt; False where the patience is at its end."""
        with self._lock:
            now = time.monotonic()
            if self._since is None:
                self._since = now
                if self._worked:
                    self._say(f"{reason} Waiting for it, up to {PATIENCE_SECONDS / 60:.0f} minutes.")
            if now - self._since > (PATIENCE_SECONDS if self._worked else BRIEF_SECONDS):
                return False
        return not self._pause(min(2.0**attempt, LONGEST_PAUSE))

    def _pause(self, seconds: float) -> bool:
        """Whether it was ended meanwhile."""
        return self._ended.wait(seconds)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Left early, as by Ctrl-C, no thread goes on waiting."""
        try:
            yield
        finally:
            self._ended.set()
