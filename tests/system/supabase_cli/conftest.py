"""The Supabase CLI, and a user's repository for it to work in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bridge import bridge
from repository import Repository
from support import npm_packages
from support.databases import Clone

from local.postgres import Cluster

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def port(cluster: Cluster) -> Iterator[int]:
    with bridge(cluster) as number:
        yield number


@pytest.fixture(scope="session")
def program() -> Path:
    return npm_packages.install(HERE) / ".bin" / "supabase"


@pytest.fixture
def repository(bare_database: Clone, port: int, program: Path, tmp_path: Path) -> Repository:
    """A user's, with one migration that is pushed already."""
    url = f"postgresql://postgres:unused@127.0.0.1:{port}/{bare_database.name}"
    made = Repository(tmp_path, program, url)
    made.migrations.mkdir(parents=True)
    (tmp_path / "supabase" / "config.toml").write_text('project_id = "mine"\n')
    made.write("20260201000000_first", "create table public.their_first (id integer);")
    assert made.push() == ["20260201000000_first"]
    return made
