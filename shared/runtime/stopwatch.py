"""How long the parts of one request take."""

from __future__ import annotations

import time


class Stopwatch:
    """Times parts that follow each other without a gap."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}  # milliseconds of each part
        self._since = time.perf_counter()

    def ends(self, part: str) -> None:
        now = time.perf_counter()
        self.ms[part] = round(1000 * (now - self._since), 1)
        self._since = now
