"""Intervals, p values and their correction."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation import intervals
from evaluation.intervals import Resampling, holm, interval, p_value
from evaluation.measures import bootstrap_interval


def names(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def test_the_interval_of_a_mean_is_scipys():
    from scipy import stats  # a second

    values = np.random.default_rng(0).beta(2, 3, 80)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=1)
    low, high = bootstrap_interval(values, seed=2)
    assert low == pytest.approx(expected.confidence_interval.low, abs=0.005)
    assert high == pytest.approx(expected.confidence_interval.high, abs=0.005)


def test_the_same_seed_draws_the_same_queries_and_another_seed_others():
    values = np.random.default_rng(0).uniform(size=(30, 1))
    first, again, other = (Resampling(names(30), seed=seed).means(values) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_queries_of_one_cluster_are_drawn_together():
    # Eight queries of one image that always agree are worth one query, not eight.
    values = np.repeat(np.random.default_rng(0).integers(0, 2, 40), 8)[:, None].astype(float)
    clusters = [str(i // 8) for i in range(320)]
    alone, together = (Resampling(of, seed=0).means(values).std() for of in (names(320), clusters))
    assert together == pytest.approx(alone * 8**0.5, rel=0.1)


def test_clusters_of_different_sizes_weigh_by_their_queries():
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    drawn = Resampling(["a", "a", "a", "b"], seed=0, draws=50)
    (times,) = list(drawn.drawn())
    expected = 3 * times[:, 0] / (3 * times[:, 0] + times[:, 1])
    assert drawn.means(values)[:, 0] == pytest.approx(expected)


def test_draws_made_in_parts_are_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "AT_ONCE", 7)
    assert Resampling(names(5), seed=0, draws=50).means(np.ones((5, 2))).shape == (50, 2)


def test_the_interval_holds_95_of_100_draws():
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        (np.ones(1999), 2 / 2000),  # always above 0: as small as 1999 draws can tell
        (np.zeros(1999), 1.0),
        (np.repeat([1.0, -1.0], [1949, 50]), 2 * 51 / 2000),
        (np.repeat([1.0, -1.0], [50, 1949]), 2 * 51 / 2000),
    ],
)
def test_p_is_twice_the_share_of_draws_on_the_rarer_side(differences: np.ndarray, p: float):
    assert p_value(differences) == pytest.approx(p)


def test_p_is_below_5_percent_where_the_interval_leaves_out_0():
    for shift in np.linspace(-0.5, 0.5, 41):
        differences = np.random.default_rng(1).normal(shift, 0.1, 2000)
        low, high = interval(differences)
        assert (p_value(differences) < 0.05) == (low > 0 or high < 0) or min(abs(low), abs(high)) < 0.002


def test_holm_multiplies_the_smallest_by_all_the_next_by_one_fewer():
    # 4 of 0.01, 3 of 0.02, 2 of 0.03, 1 of 0.04, and none below the one before it.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
