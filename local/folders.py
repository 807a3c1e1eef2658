"""The faults of a data folder, in one line with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import StackError


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """The system's refusals inside are told of `folder`: somebody else's, read-only, full, no folder."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(folder) else ""
        raise StackError(
            f"The data folder {folder} can't be used: {error.strerror or error}{where}. "
            "Set LOCAL_DATA to another, or use it as its owner."
        ) from error
