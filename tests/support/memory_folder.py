"""A folder in memory, for tests that make and remove hundreds of files each."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "neural-search-tests-"
SHARED = Path("/dev/shm")
ROOM = 4 * 2**30  # bytes; a server of the tests takes some hundred megabytes, and each process has one


@contextmanager
def quick_folder() -> Iterator[Path]:
    """An empty folder that others may pass through, in memory where that can be; nothing of it stays.

    A run that is killed leaves its folder behind, unlocked, which the next one removes; a server in it then
    ends by itself.
    """
    parent = memory()
    if parent:
        _sweep(parent)
    # Not tmp_path: as root the server runs as somebody else, who can't enter pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    folder.chmod(0o711)
    with _lock(folder).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:  # locked to the end, or another run would remove it at the same time
            shutil.rmtree(folder)
            _lock(folder).unlink()


def _lock(folder: Path) -> Path:
    return folder.with_suffix(".lock")


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}*.lock"):
        with suppress(OSError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - path.stat().st_mtime > 60:  # a younger one may be about to be locked
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink()


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
