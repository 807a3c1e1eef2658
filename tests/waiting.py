"""Waiting for what happens by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

PATIENCE = 60.0  # seconds
INTERVAL = 0.05


def eventually(look: Callable[[], Found], seconds: float = PATIENCE) -> Found:
    """The first true value that `look` gives; AssertionError with the last one where none comes in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"it didn't happen, the last was {found!r}"
        time.sleep(INTERVAL)
    return found
