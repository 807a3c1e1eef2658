"""The vectors that searches are measured on: as near to each other as real ones, the same for ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import mixture
from benchmarks.mixture import QUERIES, Mixture, Vectors
from shared.errors import SettingsError

# Of the public set's 1,698 drawings under the default model, measured as below.
DRAWINGS = 1698
REAL_TOP_10 = {25: 0.527, 50: 0.581, 75: 0.638}  # percentile -> mean similarity of the ten nearest
REAL_DIMENSION = 20.0
REAL_ANY_TWO = 0.227


def drawn(count: int, *, seed: int = 1, **options: int) -> Vectors:
    return np.concatenate(list(mixture.load().draw(count, seed=seed, **options)))


def nearest(vectors: Vectors, count: int) -> Vectors:
    """The similarities of each to its nearest others, the nearest first."""
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -1)
    return -np.sort(-similarities, axis=1)[:, :count]


def intrinsic_dimension(vectors: Vectors) -> float:
    """By maximum likelihood from the 20 nearest (Levina and Bickel, 2004), the median over all."""
    distances = np.sqrt(2 - 2 * nearest(vectors, 20))
    return float(np.median(1 / np.log(distances[:, -1:] / distances[:, :-1]).mean(axis=1)))


@pytest.mark.parametrize("dimensions", [1280, 512])
def test_neighbours_are_as_near_and_as_many_ways_apart_as_those_of_real_images(dimensions: int):
    vectors = drawn(DRAWINGS, dimensions=dimensions)
    assert intrinsic_dimension(vectors) == pytest.approx(REAL_DIMENSION, abs=3)
    top_10 = nearest(vectors, 10).mean(axis=1)
    for percentile, real in REAL_TOP_10.items():
        assert np.percentile(top_10, percentile) == pytest.approx(real, abs=0.04)
    assert np.median(vectors @ vectors[0]) == pytest.approx(REAL_ANY_TWO, abs=0.1)


def test_independent_random_vectors_would_not_pass_for_real_ones():
    random = np.random.default_rng(1).standard_normal((DRAWINGS, 1280)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    assert intrinsic_dimension(random) > 2 * REAL_DIMENSION
    assert np.median(nearest(random, 10)) < 0.2


def test_the_same_seed_draws_the_same_vectors_however_many():
    assert np.array_equal(drawn(5200)[:5000], drawn(5000))
    assert not np.array_equal(drawn(10), drawn(10, seed=2))


def test_queries_are_held_out():
    stored, queries = drawn(2000), drawn(50, stream=QUERIES)
    assert (queries @ stored.T).max() < 0.95


def test_vectors_are_of_unit_length_and_single_precision():
    vectors = drawn(20, dimensions=512)
    assert vectors.dtype == np.float32 and vectors.shape == (20, 512)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("dimensions", [127, 1281])
def test_other_dimensions_than_it_can_draw_are_refused(dimensions: int):
    with pytest.raises(SettingsError, match=f"Vectors of {dimensions} dimensions .* Expected 128 to 1280"):
        drawn(1, dimensions=dimensions)


def small() -> Mixture:
    """Two far clusters in 12 dimensions: one wide along the first axis, one along the second."""
    axes = np.eye(12, dtype=np.float32)[:4]
    factors = np.zeros((2, 1, 4), np.float32)
    factors[0, 0, 0] = factors[1, 0, 1] = 0.5
    return Mixture(
        weights=np.array([0.75, 0.25], np.float32),
        centre=np.zeros(12, np.float32),
        axes=axes,
        means=np.array([[0, 0, 1, 0], [0, 0, -1, 0]], np.float32),
        factors=factors,
        remainder=np.full(12, 0.05, np.float32),
    )


def test_fitting_finds_the_mixture_again_from_what_was_drawn(tmp_path: Path):
    vectors = np.concatenate(list(small().draw(4000, seed=3)))
    mixture.save(mixture.fit(vectors, clusters=2, kept=4, directions=1), tmp_path / "again.npz")
    again = mixture.load(tmp_path / "again.npz")
    assert sorted(again.weights.round(2).tolist()) == pytest.approx([0.25, 0.75], abs=0.03)
    more = np.concatenate(list(again.draw(4000, seed=4)))
    for axis in range(3):
        assert more[:, axis].std() == pytest.approx(vectors[:, axis].std(), rel=0.15)
    assert np.median(nearest(more[:1000], 10)) == pytest.approx(
        np.median(nearest(vectors[:1000], 10)), abs=0.01
    )
