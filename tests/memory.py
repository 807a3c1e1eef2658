"""A folder in memory, for what makes and removes hundreds of files per test."""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path("/dev/shm")
ROOM = 4 * 2**30  # bytes; a server of the tests takes some hundred megabytes, and each process has one


def memory() -> Path | None:
    """Where Linux keeps files in memory, if programs may run there and there is room; else None.

    A database is 300 files: cloning one took 0.2 s in memory and 1.1 s on a busy disk.
    """
    if not SHARED.is_dir() or not os.access(SHARED, os.W_OK):
        return None
    told = os.statvfs(SHARED)
    if told.f_flag & os.ST_NOEXEC or told.f_bavail * told.f_frsize < ROOM:
        return None
    return SHARED
