"""The migration that is written into a user's own repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.installer import written_migration


@pytest.mark.parametrize(
    ("there", "version"),
    [
        (["29991231235958_theirs.sql"], "29991231235959"),
        (["29991231235958_theirs.sql", "9_of_another_tool.sql"], "29991231235959"),
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
