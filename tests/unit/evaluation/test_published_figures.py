"""The docs' table of the public set is the kept report's, with which the gate compares."""

from __future__ import annotations

import json

import pytest

from evaluation import baseline
from evaluation.report import table
from shared.settings import CHECKOUT

PUBLISHED = CHECKOUT / "evaluation/published/emoji.json"


@pytest.fixture(scope="module")
def published() -> dict:
    return baseline.load(PUBLISHED)


def test_the_published_table_is_the_kept_reports(published: dict):
    assert table.markdown(published) in (CHECKOUT / "docs/evaluation.md").read_text()


def test_the_kept_report_has_every_task_and_the_default_model_beats_every_other_without_a_model(
    published: dict,
):
    assert table.tasks(published) == ["label", "pairs", "copies", "text"]
    for task in ("label", "pairs", "copies"):
        ranked = [one["method"] for one in table.ranked(published, task)]
        others = [name for name in ranked if "efficientnet" not in name]
        assert ranked.index("efficientnet-lite0-concepts") < ranked.index(others[0])


def test_continuous_integration_gates_on_the_kept_report():
    lines = (CHECKOUT / ".ci/run").read_text().splitlines()
    gate = [line for line in lines if "make evaluate" in line]
    assert len(gate) == 1 and f"--baseline {PUBLISHED.relative_to(CHECKOUT)}" in gate[0]


def test_the_kept_report_is_what_a_reports_own_part_for_the_gate_looks_like(published: dict):
    known = published["per_query"]["pairs/efficientnet-lite0-concepts"]["recall@1"]
    (result,) = (
        one
        for one in published["results"]
        if (one["task"], one["method"]) == ("pairs", "efficientnet-lite0-concepts")
    )
    assert len(known) == result["queries"]
    assert sum(known) / len(known) == pytest.approx(result["metrics"]["recall@1"]["value"], abs=1e-4)
    assert len(json.dumps(published)) < 500_000
