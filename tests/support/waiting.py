"""Waiting for a change that comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

PATIENCE = 90.0  # seconds after which a test has hung, on a machine that does much else
INTERVAL = 0.02


def eventually(
    look: Callable[[], Found], seconds: float = PATIENCE, *, wanted: Callable[[Found], object] = bool
) -> Found:
    """The first value of `look` that is `wanted`; AssertionError, with the last, where none comes in time."""
    deadline = time.monotonic() + seconds
    while not wanted(found := look()):
        assert time.monotonic() < deadline, f"it didn't happen, the last was {found!r}"
        time.sleep(INTERVAL)
    return found
