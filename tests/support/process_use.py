"""The CPU time of a process and its peak of memory, while something else goes on. Linux alone tells them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil


@dataclass
class Use:
    """Of one process."""

    cpu_seconds: float = 0.0
    bytes: int = 0  # beyond those before


Filled = TypeVar("Filled", bound=Use)


@contextmanager
def measured(process: psutil.Process, use: Filled) -> Iterator[Filled]:
    """Fills in the use of the block."""
    folder = Path(f"/proc/{process.pid}")
    (folder / "clear_refs").write_text("5")  # the peak begins anew
    before, cpu = _kilobytes(folder, "VmRSS"), _cpu_seconds(process)
    try:
        yield use
    finally:
        use.cpu_seconds = _cpu_seconds(process) - cpu
        use.bytes = (_kilobytes(folder, "VmHWM") - before) * 1024


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _kilobytes(folder: Path, name: str) -> int:
    line = next(line for line in (folder / "status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])
