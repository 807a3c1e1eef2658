"""Sustained ingest and a burst, as the benchmark runs them, on a stack of its own; nothing of it is lost."""

from __future__ import annotations

import subprocess
import sys
import time

from soak.invariants import GHOST, LOST, WRONG
from soak.outcome import Outcome
from soak.project import Project
from stacks import temporary_stack

from shared import embedding, settings
from shared.settings import CHECKOUT

SETTLES_WITHIN = 120.0  # seconds after the benchmark's own waiting


def run(sustained: int = 5000, burst: int = 1000, seed: int = 1) -> Outcome:
    """The benchmark's own exit status counts: it fails where an image doesn't become searchable."""
    began = time.monotonic()
    with temporary_stack() as stack:
        values = settings.bare_environment(settings.environment(stack.settings))
        options = ["--sustained", str(sustained), "--burst", str(burst)]
        command = [sys.executable, "-m", "benchmarks.ingest", *options]
        status = subprocess.run(command, env=values, cwd=CHECKOUT).returncode
        verdict, _ = Project(stack.settings).converge(embedding.load().embed_images, seed, SETTLES_WITHIN)
    failed = [f"the benchmark ended with status {status}"] if status else []
    return Outcome(
        part="ingest",
        operations=sustained + burst,
        seconds=time.monotonic() - began,
        lost=verdict.count(LOST),
        ghosts=verdict.count(GHOST),
        wrong=verdict.count(WRONG),
        evidence=(*failed, *map(str, verdict.violations)),
    )
