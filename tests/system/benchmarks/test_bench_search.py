"""`neural-search bench search`: that it keeps its word, in small, and how it tells its results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.databases import Clone
from typer.testing import CliRunner

from benchmarks import (
    mixture,
    search_bench,
    search_callers,
    search_report,
    search_rows,
    search_served,
    search_strategies,
    speed,
)
from benchmarks.instant_project import canned
from benchmarks.mixture import QUERIES
from benchmarks.search_bench import Match
from benchmarks.search_callers import Case, Result
from benchmarks.search_http import Http
from benchmarks.search_queries import Collection, Turns, connected
from benchmarks.search_strategies import Measurement
from cli.__main__ import app
from cli.stacks import benchmark_stack
from local.postgres import SUPERUSER
from shared import settings

COUNT = 600
SILENT = lambda *_: None  # noqa: E731


@pytest.fixture(scope="module")
def collection() -> Collection:
    fitted = mixture.load()
    (stored,) = fitted.draw(COUNT, seed=1)
    (queries,) = fitted.draw(5, seed=1, stream=QUERIES)
    return Collection(model=search_bench.NATIVE, stored=stored, queries=queries)


@pytest.fixture
def filled(database: Clone, collection: Collection) -> Iterator[search_rows.Connection]:
    with connected(database.url(SUPERUSER)) as connection:
        connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
        search_bench._activate(connection, collection.model, collection.dimensions)
        search_rows.fill(connection, collection.model, collection.stored, seed=1, show=SILENT)
        yield connection


def test_owners_buckets_and_albums_have_their_shares_each_by_itself():
    made = list(search_rows.rows(20_000, seed=1))
    assert made == list(search_rows.rows(20_000, seed=1))
    for share, part in search_rows.SHARES.items():
        expected = pytest.approx(20_000 * part, rel=0.5)
        assert sum(row.owner == search_rows.owner(share) for row in made) == expected
        assert sum(row.bucket == f"bucket {share}" for row in made) == expected
        assert sum(row.album == share for row in made) == expected
    both = sum(row.owner == search_rows.owner("10%") and row.bucket == "bucket 10%" for row in made)
    assert both == pytest.approx(200, rel=0.3)
    assert len({row.id for row in made}) == len({row.name for row in made}) == 20_000


def test_what_is_stored_is_what_was_drawn(filled: search_rows.Connection, collection: Collection):
    rows = filled.execute("""
        select content, embedding::text, o.owner_id = d.owner_id and o.version = d.object_version
          and o.name = content and o.bucket_id = d.bucket_id and o.user_metadata = d.metadata
        from documents as d join storage.objects as o on o.id = d.object_id
    """).fetchall()
    assert len(rows) == COUNT and all(same for _, _, same in rows)
    for name, embedding, _ in rows[:20]:
        stored = collection.stored[search_rows.number_of(name)]
        np.testing.assert_allclose(json.loads(embedding), stored, rtol=1e-5, atol=1e-8)
    assert filled.execute("select count(*) from neural_search.jobs").fetchone() == (0,)


def test_recall_counts_the_nearest_of_what_may_be_seen(collection: Collection):
    order = np.argsort(-(collection.stored @ collection.queries[0]))
    names = [f"owner/{number}.jpg" for number in order]
    assert collection.recall(0, names[:10]) == 1
    assert collection.recall(0, names[5:15]) == 0.5
    visible = np.ones(COUNT, bool)
    visible[order[:5]] = False
    assert collection.recall(0, names[5:15], visible) == 1
    few = np.zeros(COUNT, bool)
    few[order[[3, 400]]] = True
    assert collection.recall(0, [names[3], names[400]], few) == 1
    assert collection.recall(0, [names[3]], few) == 0.5


def test_strategies_find_what_they_promise(
    filled: search_rows.Connection, collection: Collection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search_strategies, "QUERIES", 4)
    monkeypatch.setattr(search_strategies, "EXACT_QUERIES", 4)
    found = {one.strategy: one for one in search_strategies.measure(filled, collection, SILENT)}
    assert list(found) == ["exact", "hnsw", "lsh"]
    assert found["exact"].recall == 1 and found["hnsw"].recall >= 0.9 and found["lsh"].recall >= 0.9
    assert found["lsh"].bytes_per_image < found["hnsw"].bytes_per_image < found["exact"].bytes_per_image
    assert filled.execute("select to_regclass('by_hand_lsh')").fetchone() == (None,)
    ((indexed,),) = filled.execute("select neural_search.has_index(%s)", [collection.model]).fetchall()
    assert indexed


CHOSEN = ("sees 100%", "sees 0.1%, by owner", "sees 0.1%, by folder", "sees 1%, by folder, declared")


def test_each_caller_and_filter_gets_a_full_page_of_the_nearest(
    filled: search_rows.Connection, collection: Collection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search_callers, "ROUNDS", 3)
    monkeypatch.setattr(search_callers, "SLOW_ROUNDS", 3)
    search_strategies.build_hnsw(filled, collection.model, collection.dimensions)
    made = list(search_rows.rows(COUNT, seed=1))
    callers, filters = list(search_callers.callers(made)), list(search_callers.filters(made))
    assert Counter(case.policy for case in callers) == {"owner": 7, "folder": 6} and len(filters) == 12
    named = {case.name: case for case in callers}
    chosen = [named[name] for name in CHOSEN] + filters[:4]
    for result in search_callers.measure(filled, collection, chosen, SILENT):
        assert result.complete, result
        assert result.recall >= 0.95, result
        assert result.to_hnsw and result.to_exact
        assert bool(result.to_exact_as_caller) == result.case.startswith("sees")
    assert filled.execute("select current_user").fetchone() == (SUPERUSER,)


def test_the_filter_by_hand_finds_the_same_rows(filled: search_rows.Connection):
    for case in search_callers.filters(list(search_rows.rows(COUNT, seed=1))):
        statement = f"select count(*) from documents where {case.condition}"
        assert filled.execute(statement.encode(), {}).fetchone() == (int(case.visible.sum()),)


def turns(*milliseconds: float, count: int = 10) -> Turns:
    each = len(milliseconds)
    return Turns(milliseconds=[*milliseconds], recalls=[1.0] * each, counts=[count] * each)


def test_ratios_are_of_the_same_rounds_and_an_empty_page_is_told():
    case = Case(name="a", policy="owner", claims={}, visible=np.ones(50, bool))
    quick = {"match": turns(2, 40, 6, count=3), "hnsw": turns(1, 10, 6)}
    result = search_callers._result(case, quick, {"match": turns(9), "exact, joined": turns(3)})
    assert (result.to_hnsw, result.to_exact, result.to_exact_as_caller) == (2, 3, None)
    assert (result.count, result.complete, result.most_ms) == (3, False, 40)


def result(case: str, **changes: float) -> Result:
    about = {"visible": 100, "count": 10, "recall": 1.0, "p50_ms": 5.0, "p95_ms": 6.0, "most_ms": 7.0}
    about |= {"declared": case.endswith("declared")}
    ratios = {"to_hnsw": 1.0, "hnsw_recall": 1.0, "to_exact": 0.5, "to_exact_as_caller": 0.1}
    return Result(case=case, **{**about, **ratios, **changes})


def match(again: float) -> Match:
    return Match(first=10 * again, again=again, recall=0.99)


MEASURED = search_bench.Measured(
    strategies=[],
    matches={
        (1280, 10_000): match(4.0),
        (1280, 100_000): match(6.0),
        (512, 10_000): match(2.0),
        (512, 1_000_000): match(7.0),
    },
    callers=[
        result("sees 100%", visible=1000),
        result("sees 10%", to_exact=1.1, count=4),
        result("sees 0.1%", visible=20, most_ms=3200),
        result("sees 0.1%, declared", visible=20, p50_ms=16.0),
    ],
    filters=[result("bucket of 1%", to_hnsw=2.5), result("metadata of 0.1%", to_hnsw=9, recall=0.9)],
    words=[],
    http=Http(sql=[5.0, 5.0], rest=[8.0, 9.0], by_image=[50.0, 70.0]),
    served=[],
)


def test_each_target_is_held_against_the_worst_case():
    found = {one.what: one for one in search_bench.figures(MEASURED)}
    verdicts = {what: (round(one.value, 2), one.met) for what, one in found.items()}
    assert verdicts == {
        "match_documents ÷ HNSW by hand, of 100% visible": (1.0, True),
        "callers with a full page, of all who are measured": (75.0, False),
        "least recall@10 of a caller": (1.0, True),
        "match_documents ÷ exact search by hand over the visible, at most": (1.1, True),
        "match_documents ÷ exact search by hand as the same caller, at most": (0.1, True),
        "match_documents where visibility is declared ÷ HNSW by hand, of 100% visible, at most": (3.2, False),
        "slowest search of who sees 0.1%": (3.2, False),
        "match_documents narrowed by bucket, prefix or owner ÷ HNSW by hand, not narrowed, at most": (
            2.5,
            True,
        ),
        "match_documents narrowed to 0.1% by metadata, p50": (5.0, True),
        "filters with a full page, of all that are measured": (100.0, True),
        "least recall@10 of a filter": (0.9, False),
        "match_documents, 100,000 ÷ 10,000 vectors of 1280, asked again": (1.5, None),
        "match_documents, 1,000,000 ÷ 10,000 vectors of 512, asked again": (3.5, False),
        "what HTTP and PostgREST's path add to match_documents": (3.5, None),
        "query by image over HTTP, efficientnet-lite0, p95": (69.0, True),
    }
    assert "sees 10%: 4" in found["callers with a full page, of all who are measured"].note


REPORT = {
    "made": "2026-01-01",
    "command": "neural-search bench search",
    "machine": speed.machine() | {"load": 0.1},
    "seconds": 500,
    "seed": 1,
    "strategies": [
        Measurement(
            strategy="hnsw",
            dimensions=1280,
            vectors=100_000,
            recall=0.9876,
            p50_ms=4.2,
            p95_ms=6.0,
            build_seconds=61,
            bytes_per_image=4096,
        ).row()
    ],
    "callers": [one.row() for one in MEASURED.callers],
    "filters": [one.row() for one in MEASURED.filters],
    "figures": [one.as_json() for one in search_bench.figures(MEASURED)],
}


def test_the_tables_are_written_into_their_chapter_alone(tmp_path: Path):
    file = tmp_path / "speed.md"
    file.write_text((settings.CHECKOUT / "docs" / "speed.md").read_text())
    before = file.read_text()
    speed.replace(file, "search", search_report.markdown(REPORT))
    once = file.read_text()
    assert "| hnsw | 100,000 of 1280 | 0.988 | 4.2 ms | 6.0 ms | 61 s | 4,096 |" in once
    assert "| sees 10% | 100 | 4 | 1.000 | 5.0 ms | 6.0 ms | 1.00 (recall 1.00) | 1.10 / 0.10 |" in once
    assert "| slowest search of who sees 0.1% | 3.20 s | ≤ 3.00 s | MISSED |" in once
    assert before.partition("<!-- search -->")[0] == once.partition("<!-- search -->")[0]
    speed.replace(file, "search", search_report.markdown(REPORT))
    assert file.read_text() == once


def test_the_command_prints_tables_or_json_and_asks_for_the_large_run_by_name(
    monkeypatch: pytest.MonkeyPatch,
):
    asked = []

    @contextmanager
    def nowhere() -> Iterator[None]:
        yield None

    monkeypatch.setattr("cli.stacks.benchmark_stack.places", nowhere)
    monkeypatch.setattr(
        search_bench,
        "measure",
        lambda made, sizes, command, show, seed: asked.append((sizes, command)) or REPORT,
    )
    shown = CliRunner().invoke(app, ["bench", "search"]).stdout
    assert "Strategies" in shown and "MISSED" in shown
    printed = CliRunner().invoke(app, ["bench", "search", "--large", "--seed", "2", "--json"]).stdout
    assert json.loads(printed)["strategies"][0]["strategy"] == "hnsw"
    (small, _), (large, command) = asked
    assert max(small.other) == 100_000 and max(large.other) == 1_000_000
    assert command == "neural-search bench search --large --seed 2"


def test_the_function_is_measured_beside_the_hand_written_one(monkeypatch: pytest.MonkeyPatch):
    for name, few in (("CALLS", 3), ("WARM", 1), ("SECONDS", 0.3), ("ROUNDS", 1), ("PICTURES", 2)):
        monkeypatch.setattr(search_served, name, few)
    with canned([], search_bench.NATIVE, search_bench.NATIVE_DIMENSIONS) as project:
        keys = {
            "SUPABASE_SECRET_KEY": project.secret_key,
            "SUPABASE_PUBLISHABLE_KEY": project.publishable_key,
        }
        stack = settings.load({"SUPABASE_URL": project.url, **keys})
        found = search_served.measure(stack, search_bench.NATIVE, 1, SILENT)
    assert [(one.target, one.at_most) for one in found] == [(12, True), (25, True), (1.3, True), (4, False)]
    assert all(one.value > 0 and one.note for one in found)


def test_the_stack_of_a_benchmark_serves_the_model_whose_vectors_are_drawn(tmp_path: Path):
    assert benchmark_stack._own_settings(tmp_path).embedding_models == (search_bench.NATIVE,)
