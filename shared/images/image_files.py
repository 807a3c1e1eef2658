"""Image files of this machine: their bytes, read within bounds."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from shared.errors import NotAnImage
from shared.images import limits


def read(path: Path, max_bytes: int) -> bytes:
    """A regular file's bytes.

    NotAnImage for a pipe or a device, which may never end; ImageTooLarge; OSError where it can't be read.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise NotAnImage(f"{str(path)!r} is no regular file. Name an image file.")
        limits.check_length(status.st_size, max_bytes)
        return file.read(max_bytes)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe's other end may never be opened
