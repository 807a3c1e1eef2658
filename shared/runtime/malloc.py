"""How this process gives memory back to the system."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
LARGE = 4 * 1024 * 1024


def give_back_what_is_freed() -> None:
    """Have glibc return every large block, as a decoded picture is made of, as soon as it is freed.

    By itself it raises the size from which it does so to 32 MB as such blocks come and go, and keeps the
    rest in a heap per thread: a process that decoded a few large pictures holds gigabytes from then on.
    Setting either threshold stops that. Other C libraries have no such habit, and no mallopt.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, LARGE)
