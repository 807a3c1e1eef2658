"""One running stack, and each client's program on it, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import node_programs
import pytest
from client_actions import Curl, Hand, SupabaseJs, SupabasePy, TusJs
from support import npm_packages
from support.databases import clone
from support.prerequisites import need
from support.running_project import Running, running

from local.postgres import Cluster

NAMES = count(1)


@pytest.fixture(scope="module")
def project(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("clients")
    with clone(cluster, template) as database, running(database.url, folder) as everything:
        yield everything


@pytest.fixture
def folder() -> str:
    """A test's own folder in the bucket, with a slash."""
    return f"{next(NAMES)}/"


@pytest.fixture(scope="session")
def packages() -> Path:
    return npm_packages.install(node_programs.HERE)


@pytest.fixture(scope="module")
def supabase_js(project: Running, packages: Path) -> Iterator[SupabaseJs]:
    with node_programs.running("supabase_js.js", project.url, project.keys.publishable) as program:
        yield SupabaseJs(program)


@pytest.fixture(scope="module")
def supabase_py(project: Running) -> SupabasePy:
    return SupabasePy(project.supabase())


@pytest.fixture(scope="module")
def tus_js(project: Running, packages: Path, supabase_py: SupabasePy) -> Iterator[TusJs]:
    with node_programs.running("tus_js.js") as program:
        yield TusJs(program, project.url, project.keys.publishable, supabase_py)


@pytest.fixture(scope="module")
def curl(project: Running, tmp_path_factory: pytest.TempPathFactory) -> Curl:
    need("curl", "These tests need curl: `apt-get install curl`.")
    return Curl(project.url, project.keys.publishable, tmp_path_factory.mktemp("curl"))


@pytest.fixture(params=["supabase_py", "supabase_js", "tus_js", "curl"])
def hand(request: pytest.FixtureRequest) -> Hand:
    """Each client in turn."""
    chosen: Hand = request.getfixturevalue(request.param)
    return chosen
