"""Sustained ingest by webhook and by worker, and a burst, as the benchmark runs them, without a loss."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from soak.invariants import GHOST, LOST, WRONG
from soak.outcome import Outcome
from soak.project import Project
from support.embedded_stacks import temporary_stack

from shared import embedding, settings
from shared.settings import CHECKOUT, Settings

SETTLES_WITHIN = 120.0  # seconds after the benchmark's own waiting
RUNS = ("webhook", "worker", "burst")


def run(sustained: int = 5000, burst: int = 1000, seed: int = 1) -> Outcome:
    """A stack of its own for the benchmark, which fails where an image doesn't become searchable."""
    began = time.monotonic()
    with temporary_stack() as stack:
        status, report = _benchmark(stack.settings, sustained, burst, seed)
        verdict, _ = Project(stack.settings).converge(embedding.load().embed_images, seed, SETTLES_WITHIN)
    failed = [f"the benchmark ended with status {status}"] if status else []
    expected = {"webhook": sustained, "worker": sustained, "burst": burst}
    unsearchable = sum(expected[run] - report[run]["images"] for run in RUNS) if report else 0
    _tell(report)
    return Outcome(
        part="ingest",
        operations=sum(expected.values()),
        seconds=time.monotonic() - began,
        lost=verdict.count(LOST) + unsearchable,
        ghosts=verdict.count(GHOST),
        wrong=verdict.count(WRONG),
        evidence=(
            *failed,
            *([f"{unsearchable} images didn't become searchable"] if unsearchable else []),
            *map(str, verdict.violations),
        ),
    )


def _benchmark(own: Settings, sustained: int, burst: int, seed: int) -> tuple[int, dict[str, Any]]:
    """Its exit status and its report, which is empty where it failed."""
    environment = settings.bare_environment(settings.environment(own))
    options = ["--images", str(sustained), "--burst", str(burst), "--seed", str(seed), "--json"]
    command = [sys.executable, "-m", "benchmarks.throughput", *options]
    done = subprocess.run(command, env=environment, cwd=CHECKOUT, stdout=subprocess.PIPE)
    return done.returncode, {} if done.returncode else json.loads(done.stdout)


def _tell(report: dict[str, Any]) -> None:
    if not report:
        return
    for name in RUNS:
        one = report[name]
        print(
            f"ingest, {name}: {one['images']} images, {one['rate']:.1f} per second, searchable after "
            f"{one['p50']:.1f} s (p95 {one['p95']:.1f}); memory {one['memory_first']:.0f} MB at first, "
            f"{one['memory_last']:.0f} MB at last, {one['memory_peak']:.0f} MB at most"
        )
    print(f"ingest: the worker reaches {report['ratio']:.0%} of what its stages allow alone")
