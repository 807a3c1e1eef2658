"""The database's own tests run on each PostgreSQL that is carried, or on the one that TEST_POSTGRES names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.databases import Clone, Connection
from support.installed_postgres import installed

from local.installation import INSTALLATIONS

OTHER = os.environ.get("TEST_POSTGRES")  # the folder that holds `bin`
MAJORS = [installed(OTHER)] if OTHER else sorted(INSTALLATIONS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "postgres_major" in metafunc.fixturenames:
        metafunc.parametrize("postgres_major", MAJORS, indirect=True, scope="session")


@pytest.fixture
def silent(database: Clone) -> Iterator[Connection]:
    """Storage as it would be without our trigger."""
    with database.connect("supabase_admin") as connection:
        connection.execute("set session_replication_role = 'replica'")
        yield connection
