"""Outcomes as the report's JSON has them. docs/evaluation.md describes the format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from evaluation import measures
from evaluation.outcomes import Outcome
from evaluation.ranking import RECALLS, STEPS

FORMAT = 1
BINS = 100  # of the similarities' distributions
EXAMPLES = 6
EXPECTED = 3  # of the right answers, to show beside the found ones
PARTS = 100  # labels at most that figures are broken down by
FINE = np.linspace(0, 1, 101)  # recalls of the curve over all pairs
THRESHOLD_RULE = "highest F1 over all pairs of this task"


def result(outcome: Outcome, seed: int, feature_seconds: float) -> dict[str, Any]:
    """The figures with their intervals."""
    intervals = outcome.intervals(seed)
    return {
        "task": outcome.task.kind,
        "method": outcome.method,
        "queries": len(outcome.rows),
        "gallery": len(outcome.task.gallery),
        "sampled_from": outcome.task.sampled_from,
        "left_out": outcome.task.left_out,
        "metrics": {
            name: {"value": value, "low": intervals[name][0], "high": intervals[name][1]}
            for name, value in outcome.values.items()
        },
        "seconds": outcome.seconds,
        "feature_seconds": feature_seconds,
    }


def curve(outcome: Outcome) -> dict[str, Any]:
    """Recall by k; precision by recall, of the mean query or, for copies, of all pairs."""
    ranking = outcome.ranking
    recall = ranking.recall.mean(axis=0).tolist()
    points = zip(RECALLS.tolist(), ranking.precision.mean(axis=0).tolist(), strict=True)
    if outcome.pairs:
        points = _pair_points(outcome)
    return {
        "task": outcome.task.kind,
        "method": outcome.method,
        "recall": [[k, value] for k, value in zip(ranking.depths, recall, strict=True)],
        "precision_recall": [list(point) for point in points],
    }


def _pair_points(outcome: Outcome) -> Any:
    recall, precision = measures.pair_curve(outcome.ranking.matching, outcome.ranking.other)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or any higher one
    return zip(FINE.tolist(), best[np.searchsorted(recall, FINE - 1e-9)].tolist(), strict=True)


def similarities(outcome: Outcome) -> dict[str, Any]:
    """How similar matching and other pairs are, and where a threshold tells them apart best."""
    matching, other = outcome.ranking.matching, outcome.ranking.other
    levels = np.arange(-STEPS, STEPS + 1)
    seen = levels[(matching + other) > 0]
    low, high = int(seen.min()), int(seen.max())
    edges = np.linspace(low, max(high, low + 1), BINS + 1)
    counted = [np.histogram(levels, edges, weights=counts)[0] for counts in (matching, other)]
    threshold = measures.best_threshold(matching, other)
    above = levels >= round(threshold * STEPS)
    return {
        "task": outcome.task.kind,
        "method": outcome.method,
        "edges": (edges / STEPS).tolist(),
        "matching": counted[0].astype(int).tolist(),
        "other": counted[1].astype(int).tolist(),
        "threshold": threshold,
        "threshold_rule": THRESHOLD_RULE,
        "passing": {
            "matching": float(matching[above].sum() / matching.sum()),
            "other": float(other[above].sum() / max(1, other.sum())),
        },
    }


def examples(outcome: Outcome) -> list[dict[str, Any]]:
    """The best found queries (of these the hardest), the worst, and the most confident wrong answers."""
    ranking = outcome.ranking
    precision, first = ranking.average_precision, ranking.levels[:, 0]
    wrong = np.flatnonzero(~ranking.found[:, 0])
    orders = {
        "best": np.lexsort((first, -precision)),
        "worst": np.lexsort((first, precision)),
        "wrong": wrong[np.argsort(-first[wrong], kind="stable")],
    }
    return [
        _example(outcome, kind, row)
        for kind, order in orders.items()
        for row in _varied(outcome, order.tolist())
    ]


def _varied(outcome: Outcome, order: list[int]) -> list[int]:
    """The first of each part and then the rest, as many as are shown, in their order."""
    parts = [outcome.task.queries[outcome.rows[row]].part for row in order]
    leading = {part: place for place, part in reversed(list(enumerate(parts)))}
    places = sorted(leading.values())[:EXAMPLES]
    rest = [place for place in range(len(order)) if place not in set(places)]
    return [order[place] for place in sorted([*places, *rest[: EXAMPLES - len(places)]])]


def _example(outcome: Outcome, kind: str, row: int) -> dict[str, Any]:
    task, ranking, asked = outcome.task, outcome.ranking, outcome.rows[row]
    query, right = task.queries[asked], np.setdiff1d(task.relevant[asked], task.hidden[asked])
    described = {"text": query.text, "key": query.item.key if query.item else None, "edit": query.edit}
    shown = [(a, s) for a, s in zip(ranking.answers[row], ranking.levels[row], strict=True) if a >= 0]
    return {
        "task": task.kind,
        "method": outcome.method,
        "kind": kind,
        "query": {name: value for name, value in described.items() if value is not None},
        "first_right": round(1 / float(ranking.reciprocal_rank[row])),
        "expected": [task.gallery[position].key for position in right[:EXPECTED]],
        "answers": [
            {
                "key": task.gallery[answer].key,
                "similarity": float(level / STEPS),
                "relevant": bool(np.isin(answer, right)),
            }
            for answer, level in shown
        ],
    }


def parts(outcome: Outcome) -> list[dict[str, Any]]:
    """The mean of the principal metric by label or edit (of a copy: recall@1)."""
    metric = measures.PRINCIPAL[outcome.task.kind]
    metric = metric if metric in outcome.per_query else "recall@1"
    names = np.array([outcome.task.queries[row].part for row in outcome.rows])
    different = list(dict.fromkeys(names.tolist()))
    if not 1 < len(different) <= PARTS:
        return []
    values = outcome.per_query[metric]
    return [
        {
            "task": outcome.task.kind,
            "method": outcome.method,
            "part": part,
            "metric": metric,
            "queries": int((names == part).sum()),
            "value": float(values[names == part].mean()),
        }
        for part in different
    ]


def rounded(value: Any) -> Any:
    """`value` with every number in it to six decimals."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return (
        [rounded(one) for one in value]
        if isinstance(value, Iterable) and not isinstance(value, str)
        else value
    )
