"""One running project for all tests of a module, with the scene built in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import scenario
from support.databases import clone
from support.running_project import Running, running

from local.postgres import Cluster


@pytest.fixture(scope="module")
def project(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("trust")
    with clone(cluster, template) as database, running(database.url, folder) as everything:
        scenario.build(everything)
        yield everything
