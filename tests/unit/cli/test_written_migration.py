"""The migration that is written into a user's own repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.full_disk import MESSAGE, full_disk

from cli.installer import written_migration
from shared.errors import SettingsError


@pytest.mark.parametrize(
    ("there", "version"),
    [
        (["29991231235958_theirs.sql"], "29991231235959"),
        (["29991231235958_theirs.sql", "1_of_another_tool.sql"], "29991231235959"),
        (["29991231235958_theirs.sql", "9_notes.txt", "9.sql"], "29991231235959"),
        (["299912312359589_of_15_digits.sql"], "29991231235959"),
    ],
)
def test_it_follows_the_newest_migration_whatever_else_is_there(
    there: list[str], version: str, tmp_path: Path
):
    for name in there:
        (tmp_path / name).write_text("select 1;")
    path, is_new = written_migration.write(tmp_path)
    assert is_new and path.name == f"{version}_neural_search.sql"
    assert written_migration.write(tmp_path) == (path, False)


@pytest.mark.parametrize("there", ["99999999999999_x.sql", "9_of_another_tool.sql", "99991231235959_x.sql"])
def test_a_version_that_no_time_follows_is_named(there: str, tmp_path: Path):
    (tmp_path / there).touch()
    with pytest.raises(SettingsError, match=rf"has the version {there.partition('_')[0]}.* Rename it"):
        written_migration.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_files_and_folders_that_are_no_text_are_others(tmp_path: Path):
    (tmp_path / "20250101000000_neural_search.sql").write_bytes(b"\xff")
    (tmp_path / "20250102000000_neural_search.sql").mkdir()
    assert written_migration.write(tmp_path)[1]


def test_nothing_stays_of_a_migration_that_a_full_disk_ends(tmp_path: Path):
    with full_disk(), pytest.raises(SettingsError, match=MESSAGE):
        written_migration.write(tmp_path)
    assert list(tmp_path.iterdir()) == []
