"""Contestants that take turns: on a machine that isn't quiet, only figures of the same moments compare."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shared import settings
from shared.settings import CHECKOUT

Rates = dict[str, list[float]]  # contestant -> its rate in each round


class ContestantFailed(RuntimeError):
    """A contestant ended; the message has the last line of its stderr."""


class Contestant:
    """A process that runs a model in one way: see `benchmarks/baselines/contestant.py`."""

    def __init__(self, way: str, model: str, threads: int, errors: Path):
        self._way = way
        self._errors = errors
        command = ["-m", "benchmarks.baselines.contestant", way, model, str(threads)]
        with errors.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=CHECKOUT,
                env=settings.child_environment({"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def await_ready(self) -> None:
        self._answer()

    def rate(self, do: str, seconds: float, **more: Any) -> float:
        """Per second, in `seconds` of work."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has ended, as its missing answer will tell
            print(json.dumps({"do": do, "seconds": seconds, **more}), file=self._process.stdin, flush=True)
        return float(self._answer()["rate"])

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        if line := self._process.stdout.readline():
            return dict(json.loads(line))
        last = self._errors.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise ContestantFailed(
            f"The contestant {self._way!r} ended with status {self._process.wait()}: {last[0]}"
        )


@contextmanager
def entered(ways: Mapping[str, str], threads: int) -> Iterator[dict[str, Contestant]]:
    """Contestants that are ready: way -> model. Loaded one after the other; all are ended with the block."""
    with tempfile.TemporaryDirectory(prefix="neural-search-") as folder:
        contestants: dict[str, Contestant] = {}
        try:
            for way, model in ways.items():
                contestants[way] = Contestant(way, model, threads, Path(folder) / way)
                contestants[way].await_ready()
            yield contestants
        finally:
            for contestant in contestants.values():
                contestant.close()


def rounds(turns: Mapping[str, Callable[[], float]], count: int, show: Callable[[], None]) -> Rates:
    """`count` times everybody's turn, in another order each time."""
    rates: Rates = {name: [] for name in turns}
    names = list(turns)
    for number in range(count):
        start = number % len(names)
        for name in [*names[start:], *names[:start]]:
            rates[name].append(turns[name]())
        show()
    return rates


def median(rates: Rates, name: str) -> float:
    return statistics.median(rates[name])


def ratio(rates: Rates, one: str, other: str) -> float:
    """How many times as fast `one` was as `other`: the median over the rounds."""
    return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))
