"""A user's file is replaced by a whole one, or stays as it is."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path

import pytest
from support import example_report
from support.full_disk import MESSAGE, ROOM, full_disk

from benchmarks import mixture, speed
from evaluation.report import files
from shared import images
from shared.errors import SettingsError
from shared.runtime import whole_files

NOTES = "mine\r\n<!-- queue -->\r\nold\r\n<!-- end of queue -->\r\n" + ROOM * "mine, too\r\n"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.md"
    path.write_bytes(NOTES.encode())
    path.chmod(0o640)
    return path


def test_a_table_takes_its_place_and_nothing_else(notes: Path, tmp_path: Path) -> None:
    (tmp_path / "link.md").symlink_to(notes.name)
    speed.replace(tmp_path / "link.md", "queue", "a\nb")
    assert notes.read_bytes() == NOTES.replace("old", "a\r\nb").encode()
    assert stat.S_IMODE(notes.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.md", "notes.md"]


def test_a_full_disk_leaves_the_document_as_it_was(notes: Path) -> None:
    with full_disk(), pytest.raises(OSError, match=MESSAGE):
        speed.replace(notes, "queue", "new")
    assert notes.read_bytes() == NOTES.encode()
    assert [*notes.parent.iterdir()] == [notes]


def test_a_full_disk_leaves_the_baseline_as_it_was(tmp_path: Path) -> None:
    decode = partial(images.decode, max_bytes=10**7, max_pixels=10**7)
    files.write(example_report.example(), tmp_path, command="", decode=decode)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk(), pytest.raises(SettingsError, match=f"can't be written .* {MESSAGE}"):
        files.write(example_report.example(), tmp_path, command="another", decode=decode)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_leaves_the_mixture_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "mixture.npz"
    file.write_bytes(mixture.FILE.read_bytes())
    with full_disk(), pytest.raises(OSError, match=MESSAGE):
        mixture.save(mixture.load(), file)
    assert file.read_bytes() == mixture.FILE.read_bytes()


def test_a_mixture_is_written_to_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to("mixture.npz")
    for _ in range(2):  # to a file that isn't there yet, and to one that is
        mixture.save(mixture.load(), tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink() and not (tmp_path / "mixture.npz").is_symlink()


def test_a_new_file_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    whole_files.write(tmp_path / "private", b"", mode=0o600)
    whole_files.write(tmp_path / "usual", b"")
    (tmp_path / "other").touch()  # as the umask has it
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["private"] == 0o600
    assert modes["usual"] == modes["other"]
