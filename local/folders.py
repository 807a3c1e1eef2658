"""A folder for a moment, which a server of another user can pass through."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
