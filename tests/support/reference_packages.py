"""Packages of reference_packages.txt, for tests that run the authors' own code in a process of its own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from support import interpreter
from support.prerequisites import unavailable

PINNED = Path(__file__).with_suffix(".txt")
# torchvision's operators are compiled for one build of torch; its transforms need none, but look for these.
PREAMBLE = """
import torch
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou) -> Tensor")
"""


def run(code: str, folder: Path) -> str:
    """The output of `code`, run in `folder` with the packages."""
    environment = os.environ | {"PYTHONPATH": str(_packages())}
    return interpreter.output(PREAMBLE + code, environment, folder, ("-W", "ignore"), seconds=280)


def _packages() -> Path:
    """The folder that holds them, beside the environment's own; installed once."""
    folder = Path(sys.prefix) / "reference-packages" / hashlib.sha256(PINNED.read_bytes()).hexdigest()[:16]
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _install(folder)
    return folder


def _install(folder: Path) -> None:
    staging = folder.with_suffix(".new")
    shutil.rmtree(staging, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(staging)]
    done = subprocess.run([*pip, "-r", str(PINNED)], capture_output=True, text=True, timeout=200, check=False)
    if done.returncode:
        unavailable(f"pip can't install the packages of {PINNED.name}: {done.stderr}")
    staging.rename(folder)
