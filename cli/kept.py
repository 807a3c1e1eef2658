"""Documents that outlived an uninstall: they come back with the next install, not to be embedded twice."""

from __future__ import annotations

from psycopg import sql

from cli.postgres import Database, column
from shared.errors import DatabaseError

OURS = {"object_id", "model", "embedding", "object_version"}  # columns by which our table is told from others
ASIDE = "neural_search_kept"


def set_aside(database: Database) -> None:
    """Moves documents of an earlier installation out of the migrations' way.

    DatabaseError where public.documents is somebody else's table.
    """
    if column(database, "select 1 where to_regnamespace('neural_search') is not null") or not _exists(
        database
    ):
        return
    if not is_ours(database):
        raise DatabaseError(
            "There is a table public.documents already that isn't neural-search's. "
            "Rename it first, and change the functions that use it."
        )
    with database.transaction():
        database.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(ASIDE)))
        database.execute(sql.SQL("alter table public.documents set schema {}").format(sql.Identifier(ASIDE)))


def bring_back(database: Database) -> int:
    """Puts back those whose object still has the same bytes; how many."""
    if not column(database, "select 1 where to_regnamespace(%s) is not null", [ASIDE]):
        return 0
    shared = [name for name in _columns(database, "public") if name in set(_columns(database, ASIDE))]
    with database.transaction():
        result = database.execute(
            sql.SQL("""
                insert into public.documents ({columns}) overriding system value
                select {values} from {aside}.documents d
                join storage.objects o on o.id = d.object_id and coalesce(o.version, '') = d.object_version
                join neural_search.models m on m.name = d.model
                on conflict do nothing
            """).format(
                columns=sql.SQL(", ").join(map(sql.Identifier, shared)),
                values=sql.SQL(", ").join(sql.Identifier("d", name) for name in shared),
                aside=sql.Identifier(ASIDE),
            )
        )
        # The old identities are in use again; the next one follows them.
        database.execute("""
            select setval(pg_get_serial_sequence('public.documents', 'id'), greatest(max(id), 1))
            from public.documents
        """)
        database.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(ASIDE)))
    return result.rowcount


def is_ours(database: Database) -> bool:
    """Whether public.documents is there and neural-search's."""
    return set(_columns(database, "public")) >= OURS


def _exists(database: Database) -> bool:
    return bool(column(database, "select 1 where to_regclass('public.documents') is not null"))


def _columns(database: Database, schema: str) -> list[str]:
    return column(
        database,
        """
        select attname::text from pg_attribute
        where attrelid = to_regclass(%s || '.documents') and attnum > 0 and not attisdropped order by attnum
        """,
        [schema],
    )
