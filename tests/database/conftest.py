"""The database's own tests run on every PostgreSQL that is carried."""

from __future__ import annotations

import pytest

from local.postgres import INSTALLATIONS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "postgres_major" in metafunc.fixturenames:
        metafunc.parametrize("postgres_major", sorted(INSTALLATIONS), indirect=True, scope="session")
