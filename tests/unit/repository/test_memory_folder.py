"""The tests' own folders in memory, which other runs remove where a run was killed."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest
from support.memory_folder import quick_folder


def test_a_folder_is_locked_until_it_is_gone(monkeypatch: pytest.MonkeyPatch):
    removed = []

    def remove(folder: Path) -> None:
        with folder.with_suffix(".lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        removed.append(folder)
        rmtree(folder)

    rmtree = shutil.rmtree
    with quick_folder() as folder:
        monkeypatch.setattr(shutil, "rmtree", remove)
    assert removed == [folder] and not folder.exists()
