"""What processes weigh: the proportional set size (PSS) of a process and all that it started, Linux only."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psutil

from shared import settings

Roots = Callable[[], Sequence[psutil.Process]]

FUNCTIONS = ("embed_on_upload", "query")
SAMPLE_SECONDS = 1.0


def serving(function: str) -> list[psutil.Process]:
    """The processes that serve this checkout's `function`: functions-framework's master and its workers."""
    source = str(settings.CHECKOUT / "functions" / function / "main.py")
    return [p for p in psutil.process_iter(["cmdline"]) if source in (p.info["cmdline"] or ())]


def megabytes(roots: Sequence[psutil.Process]) -> float:
    """PSS of these processes and of their children, such as decoders, in MB; each counts once."""
    family = {process.pid: process for root in roots for process in _with_children(root)}
    return sum(map(_pss, family.values()))


def by_function() -> dict[str, float]:
    """MB of each function on this machine."""
    return {function: megabytes(serving(function)) for function in FUNCTIONS}


class Curve:
    """The memory of some processes over time, in MB."""

    def __init__(self) -> None:
        self.samples: list[float] = []

    @property
    def peak(self) -> float:
        return max(self.samples, default=0.0)

    @property
    def first_tenth(self) -> float:
        """The median of the first tenth of the samples."""
        return _median(self.samples[: max(len(self.samples) // 10, 1)])

    @property
    def last_tenth(self) -> float:
        return _median(self.samples[-max(len(self.samples) // 10, 1) :])


@contextmanager
def watched(roots: Roots) -> Iterator[Curve]:
    """Samples while the block lasts."""
    curve, ended = Curve(), threading.Event()

    def watch() -> None:
        while True:
            if found := megabytes(roots()):
                curve.samples.append(found)
            if ended.wait(SAMPLE_SECONDS):
                return

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield curve
    finally:
        ended.set()
        thread.join()


def _with_children(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _pss(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0
