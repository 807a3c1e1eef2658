"""Data folders: their faults, in one line with the remedy, and one for a moment alone."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import StackError

WRITABLE = 0o022  # by others


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


def check_owner(folder: Path) -> None:
    """StackError where `folder` is somebody else's: where others write, as in /tmp, one of them may have made
    it, with keys that they know."""
    if folder.stat().st_uid != os.geteuid():
        raise StackError(
            f"The data folder {folder} is somebody else's, who may know its keys. Set LOCAL_DATA to another, "
            "or use it as its owner."
        )


def claim(folder: Path) -> None:
    """From here on nobody else puts anything into `folder`; StackError where it is somebody else's."""
    check_owner(folder)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & WRITABLE:
        folder.chmod(mode & ~WRITABLE)


@contextmanager
def passable() -> Iterator[Path]:
    """A folder in the system's temporary one, gone with the block.

    Not a private one: as root the server runs as somebody else, who must be able to pass through it.
    """
    folder = Path(tempfile.mkdtemp(prefix="neural-search-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
