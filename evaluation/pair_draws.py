"""µAP and recall at 90% precision when other queries are drawn: exact, from counts per query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Resampling
from evaluation.measures import MICRO_AP, OVER_PAIRS, PRECISION, RECALL_AT_PRECISION
from evaluation.ranking import STEPS, Ranking
from evaluation.tasks import Task

Values = NDArray[np.float64]


class PairCounts:
    """How many pairs of each query lie between one matching pair's similarity and the next higher one's.

    Both metrics only change at the similarity of a matching pair, so nothing is lost by that.
    """

    def __init__(self, task: Task, ranking: Ranking):
        self.levels = np.flatnonzero(ranking.matching) - STEPS
        counts = [self._block(task, rows, pairs) for rows, pairs in _blocks(ranking)]
        self.matching = np.concatenate([matching for matching, _ in counts])  # (queries, levels)
        self.other = np.concatenate([other for _, other in counts])

    def draws(self, resampling: Resampling, rows: Sequence[int] | slice = slice(None)) -> dict[str, Values]:
        """Both metrics in every draw, (draws,), of the queries `rows`."""
        matching, other = resampling.sums(self.matching[rows]), resampling.sums(self.other[rows])
        parts = [_metrics(drawn @ matching, drawn @ other) for drawn in resampling.drawn()]
        return {name: np.concatenate([part[name] for part in parts]) for name in OVER_PAIRS}

    def values(self, rows: Sequence[int] | slice = slice(None)) -> dict[str, float]:
        """Both metrics of the queries `rows`."""
        sums = (counts[rows].sum(axis=0, keepdims=True) for counts in (self.matching, self.other))
        return {name: float(value[0]) for name, value in _metrics(*sums).items()}

    def _block(self, task: Task, rows: NDArray[np.intp], pairs: NDArray[np.int32]) -> tuple[Any, Any]:
        relevant = np.zeros(pairs.shape, bool)
        for line, row in zip(relevant, rows, strict=True):
            line[task.relevant[row]] = True
        steps = np.searchsorted(self.levels, pairs, side="right") - 1  # -1: below every matching pair
        return self._counted(steps, relevant & (pairs >= -STEPS)), self._counted(
            steps, ~relevant & (pairs >= -STEPS)
        )

    def _counted(self, steps: NDArray[np.intp], wanted: NDArray[np.bool_]) -> NDArray[np.int32]:
        query, column = np.nonzero(wanted & (steps >= 0))
        cells = query * len(self.levels) + steps[query, column]
        counts = np.bincount(cells, minlength=len(steps) * len(self.levels))
        return counts.reshape(len(steps), -1).astype(np.int32)


def _blocks(ranking: Ranking) -> Any:
    start = 0
    for pairs in ranking.pairs:
        yield ranking.rows[start : start + len(pairs)], pairs
        start += len(pairs)


def _metrics(matching: NDArray[Any], other: NDArray[Any]) -> dict[str, Values]:
    """From counts (draws, levels), levels ascending."""
    right = np.cumsum(matching[:, ::-1], axis=1)
    taken = right + np.cumsum(other[:, ::-1], axis=1)
    precision = right / np.maximum(taken, 1)
    recall = right / right[:, -1:]
    gained = np.diff(recall, axis=1, prepend=0)
    return {
        MICRO_AP: (gained * precision).sum(axis=1),
        RECALL_AT_PRECISION: np.where((precision >= PRECISION) & (taken > 0), recall, 0).max(axis=1),
    }
