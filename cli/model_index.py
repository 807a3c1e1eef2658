"""The index over one model's documents: made and dropped while searches and uploads go on."""

from __future__ import annotations

from psycopg import sql

from cli.postgres import Database, column


def ensure(database: Database, name: str, dimensions: int, strategy: str) -> str:
    """built, rebuilt (a complete one took an incomplete one's place), kept, or none where it takes none."""
    [definition] = column(
        database, "select neural_search.index_definition(%s, %s, %s)", [name, dimensions, strategy]
    )
    if definition is None:
        return "none"
    if column(database, "select neural_search.has_index(%s)", [name]) == [True]:
        return "kept"
    _wait_as_long_as_it_takes(database)
    leftover = _drop(database, index_name(database, name))
    database.execute(
        sql.SQL("create index concurrently {} on public.documents {}").format(
            sql.Identifier(index_name(database, name)), sql.SQL(definition)
        )
    )
    return "rebuilt" if leftover else "built"


def drop(database: Database, name: str) -> bool:
    """Whether there was one."""
    _wait_as_long_as_it_takes(database)
    return _drop(database, index_name(database, name))


def index_name(database: Database, name: str) -> str:
    [found] = column(database, "select neural_search.index_name(%s)", [name])
    return str(found)


def _drop(database: Database, index: str) -> bool:
    there = column(database, "select to_regclass('public.' || quote_ident(%s)) is not null", [index])
    database.execute(sql.SQL("drop index concurrently if exists public.{}").format(sql.Identifier(index)))
    return there == [True]


def _wait_as_long_as_it_takes(database: Database) -> None:
    """Both commands wait for older transactions, and nobody's reads and writes wait behind them."""
    database.execute("set lock_timeout = 0")
    database.execute("set statement_timeout = 0")
