"""`neural-search bench queue`: that it keeps its word, in small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.databases import Clone
from typer.testing import CliRunner

from benchmarks import job_queue
from cli.__main__ import app
from cli.stacks import benchmark_stack
from local.postgres import SUPERUSER


@pytest.fixture
def small(bare_migrated: Clone, monkeypatch: pytest.MonkeyPatch) -> Clone:
    for name, value in {"WINDOW": 1.0, "UPLOADS": 3, "UPLOADS_EVERY": 0.0, "FEW": 10**9}.items():
        monkeypatch.setattr(job_queue, name, value)

    @contextmanager
    def database() -> Iterator[str]:
        yield bare_migrated.url(SUPERUSER)

    monkeypatch.setattr(benchmark_stack, "database", database)
    return bare_migrated


@pytest.fixture
def bare_migrated(bare_database: Clone) -> Clone:
    from cli.installer import migrations

    migrations.apply(bare_database.url())
    return bare_database


def test_every_upload_is_done_and_each_figure_is_told_once(small: Clone):
    run = CliRunner().invoke(
        app, ["bench", "queue", "--minutes", "0.02", "--backfill", "200", "--json"], catch_exceptions=False
    )
    assert run.exit_code == 0
    report = json.loads(run.stdout)
    assert [figure["row"] for figure in report["figures"]] == ["queue"] * 4 + ["backfill"] * 2
    assert "PostgreSQL 18" in report["measured"]
    with small.connect() as connection:
        fresh = "select count(*) from neural_search.documents where content like 'fresh/%'"
        assert connection.execute(fresh).fetchone() == (3,)
        uploaded = "select count(*) from storage.objects where name not like '%/%'"
        made = "select count(*) from neural_search.documents where content not like '%/%'"
        assert connection.execute(uploaded).fetchone() == connection.execute(made).fetchone()
        waiting = "select count(*) from neural_search.jobs where priority = 1"
        assert 0 < connection.execute(waiting).fetchone()[0] <= 200


def test_p95_is_of_the_statements_that_began_in_its_time():
    statements = [(0.5, 9.0), *((1 + n / 100, n / 1000) for n in range(100)), (2.5, 9.0)]
    assert job_queue.p95(statements, 1, 2) == pytest.approx(94.05)
