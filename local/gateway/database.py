"""Connections to the embedded Postgres: one pool for each of the three login roles that serve requests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from shared.errors import StackError

Connection = psycopg.AsyncConnection[dict[str, Any]]
Pool = AsyncConnectionPool[Connection]

SUPERUSER = "supabase_admin"
REST, STORAGE, AUTH = "authenticator", "supabase_storage_admin", "supabase_auth_admin"
# Sessions whose values Python reads. PostgREST's, of which Postgres makes JSON, and the jobs' of pg_cron have
# the settings that a project gives its database and its roles, as on the platform.
READ_HERE = (STORAGE, AUTH, SUPERUSER)
READABLE = "-c timezone=UTC -c datestyle=ISO"
POOL_SIZE = 10
PATIENCE = 10.0  # seconds that a request waits for a connection


def sessions(url_for: Callable[[str], str]) -> Callable[[str], str]:
    """`url_for` with what our sessions depend on, whatever is set for the database or for the role."""

    def own(user: str) -> str:
        fixed = {"options": READABLE} if user in READ_HERE else {}
        return make_conninfo(url_for(user), client_encoding="utf8", **fixed)

    return own


class Database:
    """The pools, opened and closed with the app. `url_for` tells the URL for a login role."""

    def __init__(self, url_for: Callable[[str], str]):
        self._pools: dict[str, Pool] = {user: _pool(url_for(user)) for user in (REST, STORAGE, AUTH)}

    async def open(self) -> None:
        """Connect; StackError where the database can't be reached."""
        for user, pool in self._pools.items():
            try:
                await pool.open(wait=True, timeout=PATIENCE)
            except PoolTimeout as error:
                raise StackError(
                    f"The database doesn't let {user} in within {PATIENCE:.0f} seconds. "
                    "Its log is in the data folder; `neural-search up` starts it."
                ) from error

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()

    async def is_reachable(self) -> bool:
        """Whether a statement gets through right now."""
        try:
            async with self._pools[REST].connection(timeout=1) as connection:
                await connection.execute("select 1")
        except psycopg.Error:
            return False
        return True

    @contextlib.asynccontextmanager
    async def transaction(self, user: str, settings: Mapping[str, str]) -> AsyncIterator[Connection]:
        """One transaction of `user` with `settings` (the role among them) in force until its end."""
        async with self._pools[user].connection() as connection:
            await set_locally(connection, settings)
            yield connection


async def set_locally(connection: Connection, settings: Mapping[str, str]) -> None:
    """Put `settings` in force until the transaction ends, in one round trip."""
    if settings:
        calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        values = [text for pair in settings.items() for text in pair]
        await connection.execute(f"select {calls}".encode(), values)


def _pool(url: str) -> Pool:
    return AsyncConnectionPool(
        url,
        connection_class=psycopg.AsyncConnection[dict[str, Any]],
        # No server-side plans: they would outlive the DDL of a migration.
        kwargs={"row_factory": dict_row, "prepare_threshold": None},
        min_size=1,
        max_size=POOL_SIZE,
        timeout=PATIENCE,
        open=False,
        # A connection that died with Postgres is replaced before a request meets it.
        check=AsyncConnectionPool.check_connection,
    )
