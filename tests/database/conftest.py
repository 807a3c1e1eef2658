"""The database's own tests run on every PostgreSQL that is carried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.databases import Clone, Connection

from local.postgres import INSTALLATIONS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "postgres_major" in metafunc.fixturenames:
        metafunc.parametrize("postgres_major", sorted(INSTALLATIONS), indirect=True, scope="session")


@pytest.fixture
def silent(database: Clone) -> Iterator[Connection]:
    """Storage as it would be without our trigger."""
    with database.connect("supabase_admin") as connection:
        connection.execute("set session_replication_role = 'replica'")
        yield connection
