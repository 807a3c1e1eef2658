"""Our rows in supabase_migrations.schema_migrations, where older versions of `install` recorded their work.

The table belongs to the user's repository, whose `supabase db push` stops at versions that it doesn't hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.installer.connection import Database, column

if TYPE_CHECKING:
    from cli.installer.migrations import Migration


def versions(database: Database, known: list[Migration]) -> list[str]:
    """The versions in it that are ours: version, name and text all are a known migration's."""
    return [version for version, found, text in _rows(database, known) if text == _squeezed(found.statements)]


def altered(database: Database, known: list[Migration]) -> list[str]:
    """Names of known migrations that are recorded with statements of another, unreleased text."""
    return [
        f"{version}_{found.name}"
        for version, found, text in _rows(database, known)
        if _squeezed(found.statements) not in text
    ]


def release(database: Database, known: list[Migration]) -> int:
    """Deletes the rows that are ours; how many."""
    ours = versions(database, known)
    if ours:
        database.execute("delete from supabase_migrations.schema_migrations where version = any(%s)", [ours])
    return len(ours)


def explanation(rows: int, command: str = "install") -> str:
    """For people: why these rows are in the way, and the remedy."""
    return (
        f"{rows} rows of an older version of neural-search are in supabase_migrations.schema_migrations, the "
        "record of your own repository's migrations, whose `supabase db push` stops at them. Nothing needs "
        f"them any more: `neural-search {command} --release-record` deletes them."
    )


def _rows(database: Database, known: list[Migration]) -> Iterator[tuple[str, Migration, str]]:
    """By version and name: the version, the known migration and the recorded text, squeezed."""
    if not column(
        database, "select 1 where to_regclass('supabase_migrations.schema_migrations') is not null"
    ):
        return
    named = {(version, one.name): one for one in known for version in (one.version, one.former) if version}
    rows = database.execute(
        "select version, name, statements from supabase_migrations.schema_migrations"
        " where version = any(%s) order by version",
        [[version for version, _ in named]],
    )
    for version, name, statements in rows.fetchall():
        if (version, name) in named:
            yield version, named[version, name], _squeezed(*(statements or []))


def _squeezed(*statements: str) -> str:
    """Without white space and semicolons, of which the Supabase CLI drops some as it splits a file."""
    return re.sub(r"[\s;]+", "", "".join(statements))
