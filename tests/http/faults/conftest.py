"""A project for each file, whose functions meet the faults of the file's tests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from support.databases import clone
from support.faulty_project import FaultyProject, faulty_project

from local.postgres import Cluster

NAMES = count(1)


@pytest.fixture(scope="module")
def project(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultyProject]:
    folder = tmp_path_factory.mktemp("faults")
    with clone(cluster, template) as database, faulty_project(database.url, folder) as everything:
        yield everything


@pytest.fixture
def name() -> str:
    """A folder's name that no other test has."""
    return f"fault-{next(NAMES)}"
