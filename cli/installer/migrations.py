"""The migrations under supabase/migrations, applied in order and recorded in our own schema.

Nothing is written into supabase_migrations, which belongs to the user's own repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path

import psycopg
from psycopg import errors

from cli.installer import former_record, releases
from cli.installer.connection import Database, column, connect, translate
from cli.installer.migration_file import ONE_AT_A_TIME, digest, unwrap
from shared.errors import DatabaseError, SettingsError

FOLDER = releases.SUPABASE / "migrations"


@dataclass(frozen=True, kw_only=True)
class Migration:
    version: str  # 14 digits; the order of application
    name: str  # its topic
    path: Path
    former: str = ""  # the version that it had in older installations, where it was another one
    in_place: str = ""  # of the first release: an expression that is null before it has been run

    def __str__(self) -> str:
        return self.path.stem

    @property
    def statements(self) -> str:
        return unwrap(self.path.read_text())


def apply(database_url: str) -> list[str]:
    """Applies the pending migrations, each in a transaction of its own; their names.

    Makes the trigger and the schedules again if they were lost, and words that are missing. DatabaseError
    names the migration that failed, of which nothing stays.
    """
    with connect(database_url) as database:
        _require_released(database)
        applied = [str(migration) for migration in _missing(database) if _apply_one(database, migration)]
        database.execute("select neural_search.attach()")
        while column(database, "select neural_search.write_missing_words(1000)") != [0]:
            pass  # each in a transaction of its own, so that no upload waits for long
    return applied


def pending(database_url: str) -> list[str]:
    """The names of the migrations that haven't been run."""
    with connect(database_url) as database:
        return [str(migration) for migration in _missing(database)]


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
    return [_migration(path) for path in paths]


def _require_released(database: Database) -> None:
    """DatabaseError for an installation from before the first release."""
    if _has_record(database) or not column(
        database, "select 1 where to_regnamespace('neural_search') is not null"
    ):
        return
    if altered := former_record.altered(database, known()):
        raise DatabaseError(
            f"An unreleased version of neural-search is installed: {', '.join(altered)} differ from the "
            "release. Run `neural-search uninstall`, which keeps the documents, and `install` again; "
            "for an embedded stack, `make clean`."
        )


def _migration(path: Path) -> Migration:
    version, name = path.stem.split("_", 1)
    entry = releases.released().get(path.name, {})
    return Migration(
        version=version,
        name=name,
        path=path,
        former=entry.get("formerly", ""),
        in_place=entry.get("in_place", ""),
    )


def _apply_one(database: Database, migration: Migration, tries: int = 3) -> bool:
    """False where somebody else has applied it meanwhile."""
    try:
        with database.transaction():
            database.execute("set local statement_timeout = 0")  # an index may take its time
            database.execute("select pg_advisory_xact_lock(%s)", [ONE_AT_A_TIME])
            if migration not in _missing(database):
                return False
            by_whom = f"neural-search {package_version('neural-search')}"
            database.execute("select set_config('neural_search.applied_by', %s, true)", [by_whom])
            database.execute(migration.path.read_bytes())
    except psycopg.Error as error:
        if isinstance(error, errors.DeadlockDetected) and tries > 1:  # with a schedule of ours, for example
            return _apply_one(database, migration, tries - 1)
        ours = translate(error)
        raise type(ours)(f"Migration {migration} was not applied. {ours}{_remedy(error)}") from error
    return True


def _remedy(error: psycopg.Error) -> str:
    """Names what of the project's own is in the way; else the database's hint."""
    if isinstance(error, errors.DependentObjectsStillExist):
        found = "; ".join((error.diag.message_detail or "").splitlines())  # Postgres hints at DROP CASCADE
        return (
            f" {found}. Save the definition of each of them and drop it, run this again, then make it anew: "
            "CHANGELOG.md says what took the place of what it used."
        )
    if error.diag.message_hint:
        return f" {error.diag.message_hint}"
    if isinstance(error, errors.FeatureNotSupported):
        return " Give that column another type or drop it, and run this again."
    return ""


def _missing(database: Database) -> list[Migration]:
    """Those that aren't recorded; before there was a record, those whose work isn't in place."""
    if not _has_record(database):
        return [migration for migration in known() if not _is_in_place(database, migration)]
    recorded = set(database.execute("select name, sha256 from neural_search.migrations").fetchall())
    return [
        migration for migration in known() if (str(migration), digest(migration.statements)) not in recorded
    ]


def _has_record(database: Database) -> bool:
    return bool(column(database, "select 1 where to_regclass('neural_search.migrations') is not null"))


def _is_in_place(database: Database, migration: Migration) -> bool:
    if not migration.in_place:
        return False
    return bool(column(database, f"select 1 where {migration.in_place} is not null"))
