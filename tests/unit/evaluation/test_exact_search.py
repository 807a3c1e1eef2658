"""Rankings and figures against an independent computation: plain loops, one query at a time."""

from __future__ import annotations

from math import log2

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR

from evaluation import measures, ranking
from evaluation.collection import Item
from evaluation.intervals import Resampling
from evaluation.pair_draws import PairCounts
from evaluation.ranking import HEAD, STEPS, Ranking
from evaluation.tasks import Query, Task

QUERIES, GALLERY = 60, 173


@pytest.fixture(scope="module")
def similarities() -> np.ndarray:
    """Half of them rounded to two decimals, so that many tie."""
    values = np.random.default_rng(3).uniform(-1, 1, (QUERIES, GALLERY)).astype(np.float32)
    values[::2] = values[::2].round(2)
    return values


@pytest.fixture(scope="module")
def task() -> Task:
    random = np.random.default_rng(4)
    drawn = [random.choice(GALLERY, random.integers(2, 130), replace=False) for _ in range(QUERIES)]
    hidden = [one[:1] if row % 3 else random.choice(GALLERY, 20, False) for row, one in enumerate(drawn)]
    return Task(
        kind="copies",
        queries=tuple(
            Query(key=f"q{row}", text="", cluster=f"c{row // 4}", part="") for row in range(QUERIES)
        ),
        gallery=tuple(Item(key=f"{column:03}", read=bytes) for column in range(GALLERY)),
        relevant=tuple(np.sort(one).astype(np.int32) for one in drawn),
        hidden=tuple(np.sort(one).astype(np.int32) for one in hidden),
        sampled_from=QUERIES,
    )


@pytest.fixture(scope="module")
def ranked(task: Task, similarities: np.ndarray) -> Ranking:
    return ranking.rank(task, np.arange(QUERIES), lambda block: similarities[block], keep_pairs=True)


def by_loops(task: Task, similarities: np.ndarray, row: int) -> tuple[list[int], set[int]]:
    """The visible gallery in order, and its right answers."""
    hidden = set(task.hidden[row].tolist())
    visible = [column for column in range(GALLERY) if column not in hidden]
    order = sorted(visible, key=lambda column: (-round(float(similarities[row, column]), 6), column))
    return order, set(task.relevant[row].tolist()) - hidden


def figures(order: list[int], right: set[int]) -> dict[str, float]:
    ranks = [rank for rank, column in enumerate(order, 1) if column in right]
    found = {f"precision@{k}": sum(rank <= k for rank in ranks) / k for k in (1, 5, 10)}
    found |= {f"recall@{k}": sum(rank <= k for rank in ranks) / len(right) for k in (1, 5, 10, 100)}
    found["mAP"] = sum(nth / rank for nth, rank in enumerate(ranks, 1)) / len(right)
    found["MRR"] = 1 / ranks[0]
    gained = sum(1 / log2(rank + 1) for rank in ranks if rank <= 10)
    found["nDCG@10"] = gained / sum(1 / log2(rank + 1) for rank in range(1, min(len(right), 10) + 1))
    return found


def test_every_metric_of_every_query_equals_a_plain_computation(
    task: Task, similarities: np.ndarray, ranked: Ranking
):
    found = measures.per_query(ranked)
    assert set(found) == set(measures.PER_QUERY)
    for row in range(QUERIES):
        expected = figures(*by_loops(task, similarities, row))
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected, abs=1e-6)


def test_average_precision_and_reciprocal_rank_are_trec_evals_over_the_whole_ranking(
    task: Task, similarities: np.ndarray, ranked: Ranking
):
    judged, run = {}, {}
    for row in range(QUERIES):
        order, right = by_loops(task, similarities, row)
        judged[str(row)] = {str(column): 1 for column in right}
        run[str(row)] = {str(column): float(-rank) for rank, column in enumerate(order)}
    for metric in ir_measures.iter_calc([AP, RR], judged, run):
        name = {"AP": "mAP", "RR": "MRR"}[str(metric.measure)]
        assert measures.per_query(ranked)[name][int(metric.query_id)] == pytest.approx(metric.value, abs=1e-6)


def test_answers_curves_and_counts_equal_a_plain_computation(
    task: Task, similarities: np.ndarray, ranked: Ranking
):
    matching = other = 0
    for row in range(QUERIES):
        order, right = by_loops(task, similarities, row)
        assert ranked.answers[row].tolist() == order[:10]
        assert ranked.found[row].tolist() == [column in right for column in order[:HEAD]]
        ranks = [rank for rank, column in enumerate(order, 1) if column in right]
        precision = [nth / rank for nth, rank in enumerate(ranks, 1)]
        for tenth in range(11):
            reached = [p for nth, p in enumerate(precision, 1) if 10 * nth >= tenth * len(right)]
            assert ranked.precision[row, tenth] == pytest.approx(max(reached))
        for column, depth in enumerate(ranked.depths):
            assert ranked.recall[row, column] == pytest.approx(sum(r <= depth for r in ranks) / len(right))
        matching, other = matching + len(right), other + len(order) - len(right)
    assert (ranked.matching.sum(), ranked.other.sum()) == (matching, other)


def test_the_blocks_do_not_show(
    task: Task, similarities: np.ndarray, ranked: Ranking, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ranking, "CELLS", 7 * GALLERY)
    again = ranking.rank(task, np.arange(QUERIES), lambda block: similarities[block])
    for name in ("found", "answers", "levels", "average_precision", "recall", "precision", "matching"):
        assert np.array_equal(getattr(again, name), getattr(ranked, name))


def all_pairs(task: Task, similarities: np.ndarray, rows: list[int]) -> tuple[list[bool], list[float]]:
    truth, scores = [], []
    for row in rows:
        order, right = by_loops(task, similarities, row)
        truth += [column in right for column in order]
        scores += [round(float(similarities[row, column]), 6) for column in order]
    return truth, scores


def recall_at_precision(truth: list[bool], scores: list[float]) -> float:
    right, similarity = np.array(truth), np.array(scores)
    best = 0.0
    for threshold in set(similarity[right].tolist()):
        taken = right[similarity >= threshold]
        if taken.mean() >= 0.9:
            best = max(best, taken.sum() / right.sum())
    return best


def test_figures_over_all_pairs_equal_those_of_the_pairs_one_by_one(
    task: Task, similarities: np.ndarray, ranked: Ranking
):
    from sklearn.metrics import average_precision_score  # a second

    truth, scores = all_pairs(task, similarities, list(range(QUERIES)))
    found = measures.over_pairs(ranked.matching, ranked.other)
    assert found["µAP"] == pytest.approx(average_precision_score(truth, scores))
    assert found["recall at 90% precision"] == pytest.approx(recall_at_precision(truth, scores))
    assert PairCounts(task, ranked).values() == pytest.approx(found)


def test_a_draw_of_queries_has_the_figures_of_the_pairs_of_the_queries_drawn(
    task: Task, similarities: np.ndarray, ranked: Ranking
):
    from sklearn.metrics import average_precision_score  # a second

    clusters = [query.cluster for query in task.queries]
    resampling = Resampling(clusters, seed=5, draws=3)
    draws = PairCounts(task, ranked).draws(resampling)
    (times,) = list(resampling.drawn())
    for draw in range(3):
        named = dict(zip(sorted(set(clusters)), times[draw].astype(int), strict=True))
        rows = [row for row in range(QUERIES) for _ in range(named[clusters[row]])]
        truth, scores = all_pairs(task, similarities, rows)
        assert draws["µAP"][draw] == pytest.approx(average_precision_score(truth, scores))
        assert draws["recall at 90% precision"][draw] == pytest.approx(recall_at_precision(truth, scores))


def test_similarities_that_differ_by_rounding_alone_are_ordered_by_key():
    levels = ranking.to_levels(np.array([[0.5, 0.50000004, 0.9]], np.float32))
    assert ranking.in_order(levels, np.zeros((1, 3), bool)).tolist() == [[2, 0, 1]]


def test_similarities_beyond_one_are_taken_for_one():
    levels = ranking.to_levels(np.array([[1.0000002, -1.5, -np.inf]], np.float32))
    assert levels.tolist() == [[STEPS, -STEPS, -STEPS]]
