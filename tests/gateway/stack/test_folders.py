"""A data folder is its user's alone: nobody else's keys are taken for the stack's."""

from __future__ import annotations

import json
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.http_servers import free_port
from support.pretended_stack import pretended

from cli.checks import host
from local import keys
from local.stack import INFO_FILE, Stack
from shared import settings as configuration
from shared.errors import StackError
from shared.settings import STACK_FILE, Settings, data_folder

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes folders of others")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With keys, as a stack has left it."""
    path = tmp_path / "data"
    data_folder.claim(path)
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
@pytest.mark.parametrize("command", [("up", "-d"), ("down",), ("status", "--env"), ("jobs",)])
def test_no_command_opens_or_believes_anything_in_a_folder_of_somebody_else(
    folder: Path, settings: Settings, tmp_path: Path, command: tuple[str, ...]
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder / "logs" / "up.log").symlink_to(victim)
    with pretended(folder, settings.local_port):
        to_nobody(folder)
        assert "is somebody else's" in CommandLine(folder, settings.local_port).error(*command)
    assert victim.read_text() == "precious"


@ROOT
@pytest.mark.parametrize("name", [STACK_FILE, INFO_FILE, data_folder.LOCK_FILE])
def test_a_file_that_somebody_else_put_into_the_folder_is_not_believed(
    folder: Path, settings: Settings, name: str
) -> None:
    with pretended(folder, settings.local_port):
        to_nobody(folder / name)
        with pytest.raises(StackError, match="somebody else's"):
            Stack.running(settings)
            configuration.load({"LOCAL_DATA": str(folder)})


def test_files_behind_links_are_neither_read_nor_written(folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    (folder / "file").symlink_to(theirs)
    for attempt in (data_folder.read, data_folder.append):
        with pytest.raises(StackError, match="is a link"):
            attempt(folder / "file")
    data_folder.write(folder / "file", "ours")
    assert (data_folder.read(folder / "file"), theirs.read_text()) == ("ours", "theirs")


@ROOT
def test_a_folder_in_which_somebody_else_has_put_a_thing_is_refused(folder: Path) -> None:
    to_nobody(folder / "objects")
    folder.chmod(0o777)
    for _ in range(2):
        with pytest.raises(StackError, match="objects is somebody else's"):
            data_folder.claim(folder)


@ROOT
def test_roots_folder_with_its_server_in_it_is_claimed(folder: Path) -> None:
    (folder / "postgres").mkdir()
    os.chown(folder / "postgres", data_folder.SERVER_IDS[0], -1)
    folder.chmod(0o775)  # as a volume of a group is mounted
    data_folder.claim(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_nobody_puts_a_thing_into_the_folder_while_it_is_looked_through(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, modes = Path.iterdir, []

    def seen(path: Path) -> Iterator[Path]:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        return look(path)

    folder.chmod(0o777)
    monkeypatch.setattr(Path, "iterdir", seen)
    data_folder.claim(folder)
    assert modes == [0o755]


@ROOT
def test_keys_of_somebody_else_are_not_used(folder: Path) -> None:
    to_nobody(folder / keys.FILE)
    with pytest.raises(StackError, match="somebody else's"):
        keys.load(folder)


def test_keys_that_others_could_read_or_write_are_not_used(folder: Path) -> None:
    for mode in (0o644, 0o660):
        (folder / keys.FILE).chmod(mode)
        with pytest.raises(StackError, match="others may know it"):
            keys.load(folder)


def test_keys_behind_a_link_are_not_used(folder: Path, tmp_path: Path) -> None:
    (folder / keys.FILE).rename(tmp_path / "theirs")
    (folder / keys.FILE).symlink_to(tmp_path / "theirs")
    with pytest.raises(StackError, match="somebody else's"):
        keys.load(folder)


def test_nobody_else_writes_into_a_claimed_folder(folder: Path) -> None:
    folder.chmod(0o777)
    data_folder.claim(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert json.loads((folder / keys.FILE).read_text())


def test_a_folder_with_other_things_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "gateway.log").write_text("of a year")
    (tmp_path / "stack.json").write_text("theirs")
    tmp_path.chmod(0o775)
    with pytest.raises(StackError, match=r"isn't empty.* Set LOCAL_DATA to an empty folder"):
        Stack(configuration.load({"LOCAL_DATA": str(tmp_path)})).start()
    assert (tmp_path / "logs" / "gateway.log").read_text() == "of a year"
    assert (tmp_path / "stack.json").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "stack.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "logs")} == {0o775, 0o755}


def test_a_folder_for_everybody_stays_one(tmp_path: Path) -> None:
    """Such as /tmp."""
    tmp_path.chmod(0o1777)
    with pytest.raises(StackError, match=r"for everybody. Set LOCAL_DATA to one in it"):
        data_folder.claim(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
    assert not [*tmp_path.iterdir()]


@ROOT
@pytest.mark.parametrize("name", data_folder.FOLDERS)
def test_a_strangers_folder_of_logs_or_objects_is_refused_whoever_may_write_now(
    folder: Path, name: str
) -> None:
    to_nobody(folder / name)
    with pytest.raises(StackError, match=f"{name} is somebody else's"):
        data_folder.claim(folder)
    (folder / name).rename(folder / "theirs")
    (folder / name).symlink_to("theirs")
    with pytest.raises(StackError, match=f"{name} is somebody else's"):
        data_folder.claim(folder)


@ROOT
def test_no_link_of_somebody_elses_leads_to_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").symlink_to(folder.parent)
    place = tmp_path / "theirs" / folder.name
    assert configuration.load({"LOCAL_DATA": str(place)}).local_data == folder
    os.chown(tmp_path / "theirs", pwd.getpwnam("nobody").pw_uid, -1, follow_symlinks=False)
    with pytest.raises(StackError, match="theirs is somebody else's link"):
        configuration.load({"LOCAL_DATA": str(place)})
