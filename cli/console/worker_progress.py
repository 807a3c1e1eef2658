"""A worker's finished jobs, counted and told now and then."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cli.console import output
from cli.console.output import count

if TYPE_CHECKING:
    from shared.indexing.job_runner import Result

STATUSES = ("embedded", "skipped", "failed", "superseded", "gone")


class WorkerProgress:
    """Counts outcomes from many threads, and writes a line about progress and one for each that failed."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._given_back = 0
        self._lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Starts the clock: loading the models isn't counted."""
        self._began = time.monotonic()
        self._told = (self._began, 0)  # when, and how many there were

    @property
    def total(self) -> int:
        return self._counts.total()

    def add(self, result: Result) -> None:
        with self._lock:
            self._counts[result.status] += 1
            if time.monotonic() >= self._told[0] + output.LINE_EVERY:
                self._tell()
        if result.status in ("skipped", "failed"):
            where = f"{result.bucket}/{result.name} (object {result.object_id})"
            output.warn(f"{result.status}: {where}: {result.reason}")

    def add_given_back(self, jobs: int) -> None:
        with self._lock:
            self._given_back += jobs

    def as_json(self) -> dict[str, Any]:
        return counts_as_json(self._counts, self._given_back, time.monotonic() - self._began)

    def __str__(self) -> str:
        others = [f"{self._counts[status]:,} {status}" for status in STATUSES[1:] if self._counts[status]]
        if self._given_back:
            others.append(f"{self._given_back:,} given back")
        return ", ".join([f"{count(self._counts['embedded'], 'image')} embedded", *others])

    def _tell(self) -> None:
        now, (then, before) = time.monotonic(), self._told
        rate = (self.total - before) / (now - then)
        self._told = (now, self.total)
        output.warn(f"{self} ({rate:.1f} images/s)")


def counts_as_json(counts: Mapping[str, int], given_back: int, seconds: float) -> dict[str, Any]:
    """Of every status, 0 included, as `worker --json` tells them."""
    told = {status: counts.get(status, 0) for status in STATUSES}
    return told | {"given_back": given_back, "seconds": round(seconds, 3)}
