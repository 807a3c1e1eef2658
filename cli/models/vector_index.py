"""The index over one model's documents: made and dropped while searches and uploads go on."""

from __future__ import annotations

from psycopg import sql

from cli.console import output
from cli.installer.connection import Database, column

WITH_INDEX = ("hnsw", "lsh")
BATCH = 100  # documents that get their bits in one transaction; an overwrite of one waits 200 ms at most


def ensure(database: Database, name: str, dimensions: int, strategy: str) -> str:
    """built, rebuilt (a complete one took an incomplete one's place), kept, or none where it takes none."""
    if strategy == "lsh":
        _divide(database, name)
    [definition] = column(
        database, "select neural_search.index_definition(%s, %s, %s)", [name, dimensions, strategy]
    )
    if definition is None:
        return "none"
    if column(database, "select neural_search.has_index(%s, %s)", [name, strategy]) == [True]:
        return "kept"
    index = _index_name(database, name, strategy)
    leftover = _drop(database, index)
    database.execute_alone(
        sql.SQL("create index concurrently {} on neural_search.documents {}").format(
            sql.Identifier(index), sql.SQL(definition)
        )
    )
    return "rebuilt" if leftover else "built"


def drop_others(database: Database, name: str, strategy: str | None = None) -> list[str]:
    """Drops the model's indexes but the one of this strategy; their names."""
    indexes = [_index_name(database, name, one) for one in WITH_INDEX if one != strategy]
    return [index for index in indexes if _drop(database, index)]


def _divide(database: Database, name: str) -> None:
    """Draws the model's planes, and tells each document on which side of them it lies."""
    with database.patient_transaction():
        database.execute("select neural_search.prepare_lsh(%s)", [name])
        [total] = column(
            database, "select count(*) from neural_search.documents where model = %s and lsh is null", [name]
        )
    done, last = 0, 0
    fill = "select filled, last_id from neural_search.fill_lsh(%s, %s, %s)"
    with output.progress("bits", total=total) as show:
        while True:
            with database.patient_transaction():
                [(filled, last)] = database.execute(fill, [name, BATCH, last]).fetchall()
            if not filled:
                break
            done += filled
            show("bits", done)


def _index_name(database: Database, name: str, strategy: str) -> str:
    [found] = column(database, "select neural_search.index_name(%s, %s)", [name, strategy])
    return str(found)


def _drop(database: Database, index: str) -> bool:
    """Whether there was one."""
    there = column(
        database, "select 1 where to_regclass('neural_search.' || quote_ident(%s)) is not null", [index]
    )
    if there:
        database.execute_alone(
            sql.SQL("drop index concurrently if exists neural_search.{}").format(sql.Identifier(index))
        )
    return bool(there)
