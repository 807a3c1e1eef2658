"""The figures: how good the rankings of a task's queries are. docs/evaluation.md defines each.

Metrics of the first ranks come from ir-measures (trec_eval). Average precision and reciprocal rank look at
all ranks, more than can be handed over query by query: they come from the ranking itself. Metrics of all
pairs of a task at once come from scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ir_measures
import numpy as np
from ir_measures import P, R, nDCG
from numpy.typing import NDArray

from evaluation.intervals import Resampling, interval
from evaluation.ranking import HEAD, STEPS, Ranking

Values = NDArray[np.float64]

HEAD_METRICS = {
    "precision@1": P @ 1,
    "precision@5": P @ 5,
    "precision@10": P @ 10,
    "recall@1": R @ 1,
    "recall@5": R @ 5,
    "recall@10": R @ 10,
    "recall@100": R @ HEAD,
    "nDCG@10": nDCG @ 10,
}
PER_QUERY = (*HEAD_METRICS, "mAP", "MRR")
MICRO_AP, RECALL_AT_PRECISION = "µAP", "recall at 90% precision"
OVER_PAIRS = (MICRO_AP, RECALL_AT_PRECISION)  # of all pairs at once: copies alone
PRECISION = 0.9

# The metric that compares methods.
PRINCIPAL = {"label": "mAP", "pairs": "recall@1", "copies": MICRO_AP, "text": "recall@10"}

AT_ONCE = 1000  # queries handed to ir-measures at a time


def per_query(ranking: Ranking) -> dict[str, Values]:
    """Each metric's value for every query, (q,)."""
    values = {name: np.empty(len(ranking.rows)) for name in HEAD_METRICS}
    names = {str(measure): name for name, measure in HEAD_METRICS.items()}
    for metric in _head_metrics(ranking):
        values[names[str(metric.measure)]][int(metric.query_id)] = metric.value
    return values | {"mAP": ranking.average_precision, "MRR": ranking.reciprocal_rank}


def _head_metrics(ranking: Ranking) -> Iterator[Any]:
    # An answer's name doesn't matter, so the n-th right one is called n: queries with as many right answers
    # share their judgements.
    judgements = {int(count): {str(n): 1 for n in range(count)} for count in np.unique(ranking.targets)}
    scores = [float(HEAD - place) for place in range(HEAD)]
    names = np.where(ranking.found, np.cumsum(ranking.found, axis=1) - 1, -1 - np.arange(HEAD))
    for start in range(0, len(names), AT_ONCE):
        queries = range(start, min(start + AT_ONCE, len(names)))
        asked = {str(query): judgements[int(ranking.targets[query])] for query in queries}
        run = {
            str(query): dict(zip(map(str, names[query].tolist()), scores, strict=True)) for query in queries
        }
        yield from ir_measures.iter_calc(list(HEAD_METRICS.values()), asked, run)


def over_pairs(matching: NDArray[np.int64], other: NDArray[np.int64]) -> dict[str, float]:
    """µAP and recall at 90% precision of all pairs, counted by similarity."""
    from sklearn.metrics import average_precision_score  # a second, which most of the module does without

    truth, levels, counts = _weighted(matching, other)
    precision, recall, _ = _curve(truth, levels, counts)
    micro = average_precision_score(truth, levels, sample_weight=counts)
    # The curve ends with precision 1 at recall 0, so there always is one.
    return {MICRO_AP: float(micro), RECALL_AT_PRECISION: float(recall[precision >= PRECISION].max())}


def pair_curve(matching: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[Values, Values]:
    """(recall, precision) over all thresholds, recall ascending."""
    truth, levels, counts = _weighted(matching, other)
    precision, recall, _ = _curve(truth, levels, counts)
    return recall[::-1], precision[::-1]


def best_threshold(matching: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """The similarity at which taking every pair at or above it for a match has the highest F1."""
    truth, levels, counts = _weighted(matching, other)
    precision, recall, thresholds = _curve(truth, levels, counts)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[np.argmax(f1[:-1])] / STEPS)


def _curve(truth: Any, levels: Any, counts: Any) -> tuple[Values, Values, Values]:
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(truth, levels, sample_weight=counts)
    return precision, recall, thresholds


def _weighted(matching: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[Any, Any, Any]:
    right, wrong = np.flatnonzero(matching), np.flatnonzero(other)
    truth = np.repeat([1, 0], [len(right), len(wrong)])
    return truth, np.concatenate([right, wrong]) - STEPS, np.concatenate([matching[right], other[wrong]])


def bootstrap_interval(values: Values, *, seed: int) -> tuple[float, float]:
    """The 95% interval of the mean of independent queries' values."""
    names = [str(i) for i in range(len(values))]
    return interval(Resampling(names, seed=seed).means(np.asarray(values, float)[:, None])[:, 0])
