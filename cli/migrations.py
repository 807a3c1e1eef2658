"""The migrations: the chapters under supabase/migrations, applied in order and recorded as Supabase does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from cli import releases
from cli.postgres import LOCK_TIMEOUT, Database, column, connect, translate
from shared.errors import SettingsError

FOLDER = releases.SUPABASE / "migrations"
ONE_AT_A_TIME = 0x6E65_7572  # the advisory lock's number, "neur"


@dataclass(frozen=True, kw_only=True)
class Migration:
    version: str  # 14 digits; the order of application
    name: str  # its topic
    path: Path
    former: str = ""  # the version that it had in older installations, where it was another one

    def __str__(self) -> str:
        return self.path.stem

    @property
    def versions(self) -> set[str]:
        """By which it may be recorded."""
        return {self.version, self.former} - {""}


def apply(database_url: str) -> list[str]:
    """Applies what isn't recorded yet, each migration in a transaction of its own; their names.

    Makes the trigger and the schedules again if they were lost. DatabaseError names the migration that
    failed, of which nothing stays.
    """
    with connect(database_url) as database:
        _make_record(database)
        applied = [str(migration) for migration in _missing(database) if _apply_one(database, migration)]
        database.execute("select neural_search.attach()")
    return applied


def pending(database_url: str) -> list[str]:
    """The names of the migrations that aren't recorded."""
    with connect(database_url) as database:
        return [str(migration) for migration in _missing(database)]


def forget(database: Database) -> None:
    """Removes our migrations from the record, for an uninstall."""
    if _recorded(database):
        database.execute(
            "delete from supabase_migrations.schema_migrations where version = any(%s)",
            [[version for migration in known() for version in migration.versions]],
        )


def text() -> str:
    """All migrations in order."""
    return "\n".join(migration.path.read_text() for migration in known())


def known() -> list[Migration]:
    """The migrations of this checkout, in order."""
    paths = sorted(FOLDER.glob("[0-9]*_*.sql"))
    if not paths:
        raise SettingsError(
            f"There are no migrations in {FOLDER}. Run this from a checkout of neural-search."
        )
    formerly = {name: entry.get("formerly", "") for name, entry in releases.released().items()}
    return [
        Migration(version=version, name=name, path=path, former=formerly.get(path.name, ""))
        for path in paths
        for version, name in [path.stem.split("_", 1)]
    ]


def _apply_one(database: Database, migration: Migration) -> bool:
    """False where somebody else has applied it meanwhile."""
    statements = migration.path.read_text()
    try:
        with database.transaction():
            database.execute(sql.SQL("set local lock_timeout = {}").format(LOCK_TIMEOUT))
            database.execute("set local statement_timeout = 0")  # an index may take its time
            database.execute("select pg_advisory_xact_lock(%s)", [ONE_AT_A_TIME])
            if migration not in _missing(database):
                return False
            database.execute(statements.encode())
            database.execute(
                "insert into supabase_migrations.schema_migrations (version, statements, name)"
                " values (%s, %s, %s)",
                [migration.version, [statements], migration.name],
            )
    except psycopg.Error as error:
        ours = translate(error)
        hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        raise type(ours)(f"Migration {migration} was not applied. {ours}{hint}") from error
    return True


def _make_record(database: Database) -> None:
    """The table as the Supabase CLI makes it."""
    if _recorded(database):
        return
    with database.transaction():
        database.execute("create schema if not exists supabase_migrations")
        database.execute("""
            create table if not exists supabase_migrations.schema_migrations (
              version text not null primary key, statements text[], name text
            )
        """)


def _missing(database: Database) -> list[Migration]:
    if not _recorded(database):
        return known()
    applied = set(column(database, "select version from supabase_migrations.schema_migrations"))
    return [migration for migration in known() if not migration.versions & applied]


def _recorded(database: Database) -> bool:
    return bool(
        column(database, "select 1 where to_regclass('supabase_migrations.schema_migrations') is not null")
    )
