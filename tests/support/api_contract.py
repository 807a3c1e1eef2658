"""Schemathesis: requests made of openapi.json, and answers compared with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from shared.settings import CHECKOUT

SCHEMA = CHECKOUT / "functions/query/openapi.json"
SETTINGS = CHECKOUT / "tests/support/schemathesis.toml"
# The examples are the same each time, and each violation is told with a curl command.
FIXED = ("--generation-deterministic", "--no-color", "--continue-on-failure")


def violations(url: str, folder: Path, *, phases: str, examples: int) -> str:
    """Where the query function at `url` breaks its schema, or "". Files are left in `folder`."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS), "run", str(SCHEMA)]
    options = ["--url", url, "--phases", phases, "--max-examples", str(examples), "--workers", "1", *FIXED]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
