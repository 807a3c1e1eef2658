"""How far a figure would move with other queries of the same kind: the bootstrap (Efron & Tibshirani 1993).

Clusters of queries are drawn with replacement, the same draws for every method and metric of a task: the
differences between methods are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from evaluation import seeds

Values = NDArray[np.float64]

DRAWS = 2000
AT_ONCE = 200
LEVEL = 0.95


class Resampling:
    """The draws for one set of queries; `clusters` names the cluster of each."""

    def __init__(self, clusters: Sequence[str], *, seed: int, draws: int = DRAWS):
        names, self._cluster = np.unique(np.array(clusters, dtype=object).astype(str), return_inverse=True)
        self.clusters = len(names)
        places = (self._cluster, np.arange(len(clusters)))
        self._members = sparse.csr_array((np.ones(len(clusters)), places), (len(names), len(clusters)))
        self._seed, self._draws = seed, draws

    def sums(self, values: NDArray[np.generic]) -> Values:
        """(queries, m) summed to (clusters, m)."""
        return np.asarray(self._members @ values, float)

    def means(self, values: Values) -> Values:
        """(queries, m) to (draws, m): the mean of each column in every draw."""
        sums, sizes = self.sums(values), np.bincount(self._cluster).astype(float)
        return np.concatenate([(drawn @ sums) / (drawn @ sizes)[:, None] for drawn in self.drawn()])

    def drawn(self) -> Iterator[Values]:
        """(some draws, clusters): how often each cluster was drawn; the same on every call."""
        random = seeds.generator(self._seed, "bootstrap", str(self.clusters))
        for start in range(0, self._draws, AT_ONCE):
            count = min(AT_ONCE, self._draws - start)
            chosen = random.integers(self.clusters, size=(count, self.clusters))
            chosen += np.arange(count)[:, None] * self.clusters
            yield (
                np.bincount(chosen.ravel(), minlength=count * self.clusters).reshape(count, -1).astype(float)
            )


def interval(draws: Values) -> tuple[float, float]:
    """The 95% percentile interval of a figure's draws."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def p_value(differences: Values) -> float:
    """Two-sided: the level at which the percentile interval of the drawn differences would just touch 0."""
    above, below = np.count_nonzero(differences >= 0), np.count_nonzero(differences <= 0)
    return float(min(1.0, 2 * (min(above, below) + 1) / (len(differences) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for being several (Holm 1979), in the same order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected
