"""Files that a user keeps, written whole or not at all: a full disk, or an end, leaves that of before."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def write(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """`content` in the place of what is there, a link too, whose mode it keeps where none is given."""
    if mode is None and path.exists():
        mode = stat.S_IMODE(path.stat().st_mode)
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    try:
        with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, mode or 0o666)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
