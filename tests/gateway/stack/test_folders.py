"""A data folder is its user's alone: nobody else's keys are taken for the stack's."""

from __future__ import annotations

import json
import os
import pwd
import stat
from pathlib import Path

import pytest
from support.http_servers import free_port

from cli.checks import host
from local import folders, keys
from local.stack import Stack
from shared import settings as configuration
from shared.errors import StackError
from shared.settings import Settings

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes folders of others")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With keys, as a stack has left it."""
    path = tmp_path / "data"
    keys.load(path)
    return path


@pytest.fixture
def settings(folder: Path) -> Settings:
    return configuration.load({"LOCAL_DATA": str(folder), "LOCAL_PORT": str(free_port())})


def to_nobody(path: Path) -> None:
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)


@ROOT
def test_a_folder_of_somebody_else_is_refused_before_anything_is_put_there(
    folder: Path, settings: Settings
) -> None:
    to_nobody(folder)
    before = sorted(folder.iterdir())
    for attempt in (Stack(settings, functions=False).start, lambda: host.folder(settings)):
        with pytest.raises(StackError, match=r"is somebody else's.* Set LOCAL_DATA"):
            attempt()
    assert sorted(folder.iterdir()) == before


@ROOT
def test_keys_of_somebody_else_are_not_used(folder: Path) -> None:
    to_nobody(folder / keys.FILE)
    with pytest.raises(StackError, match="somebody else's"):
        keys.load(folder)


def test_keys_that_others_could_read_or_write_are_not_used(folder: Path) -> None:
    for mode in (0o644, 0o660):
        (folder / keys.FILE).chmod(mode)
        with pytest.raises(StackError, match="others may know them"):
            keys.load(folder)


def test_keys_behind_a_link_are_not_used(folder: Path, tmp_path: Path) -> None:
    (folder / keys.FILE).rename(tmp_path / "theirs")
    (folder / keys.FILE).symlink_to(tmp_path / "theirs")
    with pytest.raises(StackError, match="somebody else's"):
        keys.load(folder)


def test_nobody_else_writes_into_a_claimed_folder(folder: Path) -> None:
    folder.chmod(0o777)
    folders.claim(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert json.loads((folder / keys.FILE).read_text())
