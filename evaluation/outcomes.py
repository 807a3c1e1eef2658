"""One method's outcome on one task, and the comparison of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation import measures
from evaluation.intervals import Resampling, holm, interval, p_value
from evaluation.measures import OVER_PAIRS, PRINCIPAL
from evaluation.pair_draws import PairCounts
from evaluation.ranking import Ranking
from evaluation.tasks import Task

Values = NDArray[np.float64]


@dataclass
class Outcome:
    """One method's ranking of one task, and its figures."""

    task: Task
    method: str
    ranking: Ranking
    seconds: float  # of similarities and sorting, without features

    def __post_init__(self) -> None:
        self.per_query = measures.per_query(self.ranking)
        self.pairs = PairCounts(self.task, self.ranking) if self.ranking.pairs else None
        self.ranking.pairs = []  # counted, and by far the largest
        self._pair_draws: dict[int, dict[str, Values]] = {}  # by seed: they take seconds

    @cached_property
    def rows(self) -> list[int]:
        """Which of the task's queries were asked."""
        return [int(row) for row in self.ranking.rows]

    @cached_property
    def values(self) -> dict[str, float]:
        """Each metric's figure."""
        means = {name: float(values.mean()) for name, values in self.per_query.items()}
        return means | (measures.over_pairs(self.ranking.matching, self.ranking.other) if self.pairs else {})

    def intervals(self, seed: int) -> dict[str, tuple[float, float]]:
        """Each metric's 95% interval."""
        resampling = resampled(self.task, self.rows, seed)
        draws = resampling.means(np.stack(list(self.per_query.values()), axis=1))
        found = {name: interval(column) for name, column in zip(self.per_query, draws.T, strict=True)}
        return found | {name: interval(drawn) for name, drawn in self.pair_draws(seed).items()}

    def pair_draws(self, seed: int) -> dict[str, Values]:
        """The figures over all pairs in every draw of the queries."""
        if not self.pairs:
            return {}
        if seed not in self._pair_draws:
            self._pair_draws[seed] = self.pairs.draws(resampled(self.task, self.rows, seed))
        return self._pair_draws[seed]

    def of(self, rows: Sequence[int]) -> list[int]:
        """The positions of the task's queries `rows` among those asked."""
        place = {row: position for position, row in enumerate(self.rows)}
        return [place[row] for row in rows]


def resampled(task: Task, rows: Sequence[int], seed: int) -> Resampling:
    """The bootstrap's draws for these queries: the same for every method."""
    return Resampling([task.queries[row].cluster for row in rows], seed=seed)


def compare(outcomes: Sequence[Outcome], seed: int) -> list[dict[str, Any]]:
    """Every two methods of one task by its principal metric; p corrected for how many pairs there are.

    Where one was asked fewer queries, both are compared on those.
    """
    if len(outcomes) < 2:
        return []
    metric = PRINCIPAL[outcomes[0].task.kind]
    known: dict[tuple[str, int], tuple[float, Values]] = {}
    found: list[dict[str, Any]] = []
    for a, b in combinations(outcomes, 2):
        rows = min(a.rows, b.rows, key=len)
        (first, first_draws), (second, second_draws) = (
            _known(known, outcome, metric, rows, seed) for outcome in (a, b)
        )
        differences = first_draws - second_draws
        low, high = interval(differences)
        found.append(
            {
                "task": a.task.kind,
                "metric": metric,
                "a": a.method,
                "b": b.method,
                "queries": len(rows),
                "difference": first - second,
                "low": low,
                "high": high,
                "p": p_value(differences),
            }
        )
    corrected = holm([one["p"] for one in found])
    return [one | {"p": p} for one, p in zip(found, corrected, strict=True)]


def _known(
    known: dict[tuple[str, int], tuple[float, Values]],
    outcome: Outcome,
    metric: str,
    rows: Sequence[int],
    seed: int,
) -> tuple[float, Values]:
    key = (outcome.method, len(rows))
    if key not in known:
        known[key] = _drawn(outcome, metric, rows, seed)
    return known[key]


def _drawn(outcome: Outcome, metric: str, rows: Sequence[int], seed: int) -> tuple[float, Values]:
    resampling = resampled(outcome.task, rows, seed)
    positions = outcome.of(rows)
    if metric in OVER_PAIRS:
        assert outcome.pairs
        every = len(positions) == len(outcome.rows)
        draws = outcome.pair_draws(seed) if every else outcome.pairs.draws(resampling, positions)
        return outcome.pairs.values(positions)[metric], draws[metric]
    values = outcome.per_query[metric][positions]
    return float(values.mean()), resampling.means(values[:, None])[:, 0]
