"""Processes' memory: the proportional set size (PSS) of a process and all that it started, Linux only."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psutil

from shared import settings

Roots = Callable[[], Sequence[psutil.Process]]

FUNCTIONS = ("embed_on_upload", "query")
SAMPLE_SECONDS = 1.0
STACK_INFO = "stack.json"  # where the embedded stack tells of its processes


def serving(function: str) -> list[psutil.Process]:
    """The processes that serve `function`: the embedded stack's own, else any of this checkout's."""
    info = settings.load().local_data / STACK_INFO
    try:
        return [psutil.Process(json.loads(info.read_text())["processes"][function])]
    except (OSError, KeyError, psutil.NoSuchProcess):
        return _anywhere(function)


def _anywhere(function: str) -> list[psutil.Process]:
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
        self._samples: list[tuple[float, float]] = []  # seconds since 1970, MB

    def add(self, moment: float, weight: float) -> None:
        self._samples.append((moment, weight))

    @property
    def peak(self) -> float:
        return max((weight for _, weight in self._samples), default=0.0)

    def ends(self, since: float) -> tuple[float, float]:
        """The medians of the first and of the last tenth of the samples after `since`: flat or not."""
        weights = [weight for moment, weight in self._samples if moment >= since]
        tenth = max(len(weights) // 10, 1)
        return _median(weights[:tenth]), _median(weights[-tenth:])


@contextmanager
def watched(roots: Roots) -> Iterator[Curve]:
    """Samples while the block lasts."""
    curve, ended = Curve(), threading.Event()

    def watch() -> None:
        while True:
            if found := megabytes(roots()):
                curve.add(time.time(), found)
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
    except psutil.AccessDenied as error:
        raise PermissionError("The functions hide their memory from their user. Run this as root.") from error


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0
