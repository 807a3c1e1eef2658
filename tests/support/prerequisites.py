"""Programs and packages that some tests need beside Python's."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def need(program: str, how_to_get_it: str) -> str:
    """The program's path; `unavailable` without it."""
    return shutil.which(program) or unavailable(how_to_get_it)


def unavailable(reason: str) -> NoReturn:
    """Fails where everything has to be tested, and skips on a laptop without the program or network."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
