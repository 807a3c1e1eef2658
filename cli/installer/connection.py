"""A direct connection to the target project's database, for the few commands that need one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, LiteralString, cast

import psycopg
from psycopg import OperationalError, conninfo, errors, sql
from psycopg.abc import Params, Query, QueryNoTemplate
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from shared.errors import DatabaseError, DatabaseForbidden, DatabaseUnavailable, SettingsError

CONNECT_SECONDS = 10
TURN_TIMEOUT = "60s"
INSTALLING = 0x6E65_7573  # the advisory lock's number, "neus"
# And then the part, as it stands.
MISWRITTEN = re.compile(r"connection is bad: (invalid|definition of service)")
LOCK_TIMEOUT = "5s"  # behind us in a lock's queue everybody else's uploads would wait
SEARCH_PATH = "pg_catalog, pg_temp"  # in `public` another role's function may suit a call better
# As migrations are written and definitions are told, in spite of PGOPTIONS and the role's settings.
AS_WRITTEN = "set local standard_conforming_strings = on; set local quote_all_identifiers = off"
# The database's own trouble, as neural_search.is_outage has it, less time-outs, which statements earn.
OUTAGES = ("08", "40", "53", "55P03", "57P")


class Database(psycopg.Connection[TupleRow]):
    """A connection in autocommit mode that never waits long for a lock, and runs nobody else's functions.

    That is set in each transaction, and ends with it: the session of a transaction pooler is handed to
    others, with its settings.
    """

    def execute(
        self, query: Query, params: Params | None = None, *, prepare: bool | None = None, binary: bool = False
    ) -> psycopg.Cursor[TupleRow]:
        run = partial(super().execute, cast(QueryNoTemplate, query), params, prepare=prepare, binary=binary)
        if self.info.transaction_status != TransactionStatus.IDLE:
            return run()
        with self.transaction():
            return run()

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        with super().transaction(savepoint_name, force_rollback) as transaction:
            super().execute(
                sql.SQL("set local lock_timeout = {}; set local search_path = {}; {}").format(
                    LOCK_TIMEOUT, sql.SQL(SEARCH_PATH), sql.SQL(AS_WRITTEN)
                )
            )
            yield transaction

    @contextmanager
    def patient_transaction(self) -> Iterator[None]:
        """A transaction that waits and runs as long as it takes."""
        with self.transaction():
            self.execute("set local lock_timeout = 0; set local statement_timeout = 0")
            yield

    def execute_alone(self, statement: sql.Composed) -> None:
        """Runs a statement that no transaction may hold, as long as it takes.

        So its limits are the session's for the while: a transaction pooler may lead what lifts them and what
        sets them back to two sessions. For that the search path stays as it is, by which others' queries find
        their tables: the statement names all but PostgreSQL's own with their schemas.
        """
        run = super().execute
        try:
            run("set lock_timeout = 0; set statement_timeout = 0")
            run(statement)
        finally:
            if not self.closed:
                run("reset lock_timeout; reset statement_timeout")


@contextmanager
def connect(url: str) -> Iterator[Database]:
    """A connection whose errors are translated."""
    try:
        # A transaction pooler can't keep prepared statements; migrations are UTF-8, PGCLIENTENCODING or not.
        with Database.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            prepare_threshold=None,
            client_encoding="utf8",
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise translate(error) from (None if error.sqlstate is None else error)


@contextmanager
def alone(url: str) -> Iterator[None]:
    """Others who install or uninstall wait until this ends.

    A transaction stays open for it: behind a transaction pooler, locks of a session would be lost, or stay.
    """
    with connect(url) as database, database.transaction(force_rollback=True):
        database.execute(
            """
            select set_config(name, case name when 'lock_timeout' then %s else '0' end, true) from pg_settings
            where name in ('lock_timeout', 'statement_timeout', 'transaction_timeout',
              'idle_in_transaction_session_timeout')
            """,
            [TURN_TIMEOUT],
        )
        try:
            database.execute("select pg_advisory_xact_lock(%s)", [INSTALLING])
        except errors.LockNotAvailable as error:
            raise DatabaseUnavailable(
                "Somebody else is installing or uninstalling here. Nothing was changed; try again in a while."
            ) from error
        yield


def parameters(url: str) -> dict[str, Any]:
    """The parts of a database's address, of all forms that libpq takes; SettingsError where it is none."""
    try:
        return dict(conninfo.conninfo_to_dict(url))
    except psycopg.Error as error:
        raise translate(error) from None


def column(
    database: Database, query: LiteralString, values: list[Any] | dict[str, Any] | None = None
) -> list[Any]:
    """The first column of the answer to `query`."""
    return [row[0] for row in database.execute(query, values)]


def is_outage(error: psycopg.Error) -> bool:
    """Whether the database itself is in trouble, and not the statement."""
    return (error.sqlstate or OUTAGES[0]).startswith(OUTAGES)


def translate(error: Exception) -> DatabaseError | SettingsError:
    """Our error for psycopg's. A malformed address is not repeated: it may hold the password."""
    text = str(error).strip().split("\n")[0]
    if isinstance(error, errors.LockNotAvailable):
        return DatabaseUnavailable(
            f"The database is busy: {text}. Nothing was changed; try again in a while."
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return DatabaseUnavailable(
            f"The database is read-only: {text}. Connect to the primary, not to a replica; where its disk is "
            "full, make room; else turn default_transaction_read_only off."
        )
    if isinstance(error, errors.DiskFull):
        return DatabaseUnavailable(f"The database's disk is full: {text}. Make room, and try again.")
    if isinstance(error, errors.InsufficientPrivilege):
        return DatabaseForbidden(f"DATABASE_URL's role may not do that: {text}. Connect as `postgres`.")
    if state := getattr(error, "sqlstate", None):
        return DatabaseError(f"The database refused: {text} ({state}).")
    if isinstance(error, OperationalError) and not MISWRITTEN.match(text):
        return DatabaseUnavailable(f"The database doesn't answer: {text}. Check DATABASE_URL.")
    return SettingsError(
        "DATABASE_URL is no address of a database. Expected one that begins with postgresql://, as the "
        "dashboard shows it (Connect)."
    )
