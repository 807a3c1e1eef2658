"""The gate: it fails on a drop that is larger than tolerated and not by chance, and on nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import example_report

from evaluation import baseline
from shared.errors import CollectionError

QUERIES = 400


def report(values: list[float], micro: tuple[float, float, float] = (0.5, 0.4, 0.6)) -> dict[str, Any]:
    """A report of one method with one metric by query, and one over all pairs."""
    value, low, high = micro
    mean = float(np.mean(values))
    return {
        "format": 1,
        "collection": {"name": "things", "items": 9, "labels": 0, "fingerprint": "f"},
        "seed": 0,
        "results": [
            {
                "task": "copies",
                "method": "model",
                "queries": len(values),
                "metrics": {
                    "recall@1": {"value": mean, "low": mean - 0.05, "high": mean + 0.05},
                    "µAP": {"value": value, "low": low, "high": high},
                },
            }
        ],
        "queries": {
            "copies": {
                "keys": [str(number) for number in range(len(values))],
                "clusters": [str(number // 2) for number in range(len(values))],
            }
        },
        "asked": {},
        "per_query": {"copies/model": {"recall@1": values}},
    }


def hits(number: int) -> list[float]:
    return [1.0] * number + [0.0] * (QUERIES - number)


def drops(after: dict[str, Any], before: dict[str, Any], max_drop: float = 0.01) -> list[str]:
    return [change.metric for change in baseline.changes(after, before) if change.is_drop(max_drop)]


def test_the_same_results_pass_even_where_nothing_is_tolerated():
    assert drops(report(hits(200)), report(hits(200)), max_drop=0.0) == []


def test_better_results_pass():
    assert drops(report(hits(300)), report(hits(200))) == []


def test_a_clear_drop_fails_and_says_which_by_how_much_and_how_sure():
    (change,) = (c for c in baseline.changes(report(hits(170)), report(hits(200))) if c.is_drop(0.01))
    assert (change.before, change.after) == (0.5, 0.425)
    assert change.low < -0.075 < change.high < 0
    assert str(change).startswith("copies, model: recall@1 fell from 0.500 to 0.425 (-0.075, 95% interval")


def test_a_drop_within_the_tolerance_passes():
    assert drops(report(hits(198)), report(hits(200)), max_drop=0.01) == []
    assert drops(report(hits(190)), report(hits(200)), max_drop=0.05) == []


def test_a_drop_that_may_be_chance_passes():
    """As many queries got better as make the loss uncertain: 30 lost, 20 won."""
    before = hits(200)
    after = [0.0] * 30 + [1.0] * 190 + [0.0] * 180
    assert np.mean(after) - np.mean(before) == pytest.approx(-0.025)
    assert drops(report(after), report(before)) == []


def test_queries_that_stand_or_fall_together_are_drawn_together():
    """The same drop, in pairs of one cluster: fewer independent queries, a wider interval."""
    paired, before = report([0.0] * 8 + hits(200)[8:]), report(hits(200))
    alone = copy.deepcopy(paired)
    alone["queries"]["copies"]["clusters"] = [str(number) for number in range(QUERIES)]
    first, second = (baseline.changes(one, before)[0] for one in (paired, alone))
    assert first.high - first.low > 1.2 * (second.high - second.low)


def test_a_figure_over_all_pairs_is_compared_draw_by_draw():
    """A moderate drop, well within the intervals of both figures."""
    before, after = report(hits(9), (0.50, 0.4, 0.6)), report(hits(9), (0.47, 0.37, 0.57))
    draws = np.random.default_rng(0).normal(0.5, 0.05, 2000)
    before["draws"] = {"copies/model": {"µAP": draws.tolist()}}
    after["draws"] = {"copies/model": {"µAP": (draws - 0.03).tolist()}}
    assert drops(after, before) == ["µAP"]
    assert drops(after, before, max_drop=0.05) == []
    after["draws"] = {"copies/model": {"µAP": (draws[::-1] - 0.03).tolist()}}
    assert drops(after, before) == []


def test_a_method_that_no_longer_answers_a_task_is_refused():
    before, after = report(hits(9)), report(hits(9))
    lost, left = ({**before["results"][0], "task": "text", "method": name} for name in ("model", "random"))
    before["results"] += [lost, left]
    after["results"] += [left]
    after["queries"]["text"] = before["queries"]["text"] = before["queries"]["copies"]
    with pytest.raises(CollectionError, match="has figures of text/model, this run has none"):
        baseline.changes(after, before)
    after["results"].pop()
    del after["queries"]["text"]
    assert baseline.changes(after, before)  # this run asked no texts at all


def test_without_draws_a_figure_over_all_pairs_falls_where_it_leaves_the_intervals():
    assert drops(report(hits(9), (0.45, 0.35, 0.55)), report(hits(9), (0.5, 0.4, 0.6))) == []
    assert drops(report(hits(9), (0.30, 0.25, 0.35)), report(hits(9), (0.5, 0.4, 0.6))) == ["µAP"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda data: data["collection"].update(fingerprint="g"), "images or what is known of them"),
        (lambda data: data.update(seed=1), "seed"),
        (lambda data: data["queries"]["copies"]["keys"].reverse(), r"queries \(copies\)"),
    ],
)
def test_another_collection_seed_or_query_cannot_be_compared(
    change: Callable[[dict[str, Any]], None], named: str
):
    other = report(hits(9))
    change(other)
    with pytest.raises(CollectionError, match=rf"the {named} differ"):
        baseline.changes(report(hits(9)), other)


def test_a_baseline_without_any_method_of_this_run_is_refused():
    other = report(hits(9))
    other["results"][0]["method"] = "another"
    with pytest.raises(CollectionError, match="Check --methods and --tasks: it has copies/another"):
        baseline.changes(report(hits(9)), other)


def test_what_is_kept_of_a_report_is_enough_for_the_gate(tmp_path: Path):
    data = example_report.example().data
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(baseline.kept(data)))
    kept = baseline.load(path)
    assert not {"curves", "similarities", "examples", "parts", "asked"} & set(kept)
    changes = baseline.changes(data, kept)
    assert {change.task for change in changes} == {"label", "pairs", "copies", "text"}
    assert all(change.difference == 0 for change in changes)
    assert {name: len(values) for name, values in kept["draws"]["copies/phash"].items()} == {
        "µAP": 2000,
        "recall at 90% precision": 2000,
    }
    (micro,) = (c for c in changes if (c.method, c.metric) == ("phash", "µAP"))
    assert micro.low == pytest.approx(0, abs=1e-4) and micro.high == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 2}', '{"format": "1"}'])
def test_a_file_that_is_no_baseline_is_refused(content: str, tmp_path: Path):
    path = tmp_path / "old.json"
    path.write_text(content)
    with pytest.raises(CollectionError, match=r"old\.json' (can't be read|has the format|lacks collection)"):
        baseline.load(path)


def test_a_baseline_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(CollectionError, match=r"none\.json' can't be read: .*No such file"):
        baseline.load(tmp_path / "none.json")


@pytest.mark.parametrize("content", ["[" * 100_000, "{", "\xff"])
def test_a_baseline_that_is_no_json_is_refused_by_name(content: str, tmp_path: Path):
    (tmp_path / "baseline.json").write_text(content, "latin-1")
    with pytest.raises(CollectionError, match=r"baseline\.json' can't be read"):
        baseline.load(tmp_path / "baseline.json")
