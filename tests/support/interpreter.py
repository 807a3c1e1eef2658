"""Python code in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def output(
    code: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    options: tuple[str, ...] = (),
    seconds: float = 120,
) -> str:
    """The code's standard output; AssertionError, with its standard error, where it fails."""
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
