"""Vectors as a model makes them, as many as wanted: drawn from a mixture fitted to real embeddings.

On independent random vectors no index works and nothing is learned. `mixture.npz` holds the mixture that
`neural-search bench mixture` fitted to the public set (1,698 drawings, the default model, 1280 dimensions):
clusters, each with its mean and the directions in which it is widest; the remainder is shared by all.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import SettingsError
from shared.runtime import whole_files

Vectors = NDArray[np.float32]

FILE = Path(__file__).with_suffix(".npz")
BATCH = 5000
STORED, QUERIES = 0, 1  # streams of random numbers: queries are held out, they are never among the stored


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Gaussians in the coordinates of the principal components, of which the first few are kept as they are.

    Components beyond `axes` are drawn by chance: turning them changes no distance.
    """

    weights: Vectors  # (clusters,), of sum 1
    centre: Vectors  # (dimensions,): the mean of all, in the model's own coordinates
    axes: Vectors  # (kept, dimensions): the widest principal components, in the model's own coordinates
    means: Vectors  # (clusters, kept): less the centre
    factors: Vectors  # (clusters, directions, kept): each a direction times the deviation along it
    remainder: Vectors  # (dimensions,): standard deviation along each component that the factors leave out

    @property
    def dimensions(self) -> int:
        return len(self.centre)

    def draw(
        self, count: int, *, seed: int, stream: int = STORED, dimensions: int | None = None
    ) -> Iterator[Vectors]:
        """`count` vectors of unit length in batches (at most 5000, dimensions), the same for the same seed.

        Fewer dimensions than the model has are those along its widest principal components, turned.
        """
        wanted = dimensions or self.dimensions
        if not len(self.axes) <= wanted <= self.dimensions:
            raise SettingsError(
                f"Vectors of {wanted} dimensions can't be drawn. Expected {len(self.axes)} to "
                f"{self.dimensions}."
            )
        components = self._components
        turn = components if wanted == self.dimensions else _rotation(wanted, np.random.default_rng(wanted))
        centre = (components @ self.centre)[:wanted]
        for number, start in enumerate(range(0, count, BATCH)):
            random = np.random.default_rng([seed, stream, number])
            drawn = (self._coordinates(min(BATCH, count - start), wanted, random) + centre) @ turn
            yield drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    def _coordinates(self, count: int, wanted: int, random: np.random.Generator) -> Vectors:
        """Along the first `wanted` components, less the centre."""
        clusters = random.choice(len(self.weights), count, p=self.weights / self.weights.sum())
        drawn = random.standard_normal((count, wanted), np.float32) * self.remainder[:wanted]
        kept, directions = len(self.axes), self.factors.shape[1]
        along = random.standard_normal((count, directions), np.float32)
        for cluster in np.unique(clusters):
            mine = clusters == cluster
            drawn[mine, :kept] += self.means[cluster] + along[mine] @ self.factors[cluster]
        return drawn

    @cached_property
    def _components(self) -> Vectors:
        """All principal components, (dimensions, dimensions): those kept and, perpendicular to them, any."""
        random = np.random.default_rng(self.dimensions)
        more = random.standard_normal((self.dimensions, self.dimensions - len(self.axes)))
        completed, signs = np.linalg.qr(np.hstack([self.axes.T, more]))
        return (completed * np.sign(np.diag(signs))).T.astype(np.float32)


def fit(vectors: Vectors, *, clusters: int = 64, kept: int = 128, directions: int = 12) -> Mixture:
    """The mixture for `vectors`, (n, dimensions) of unit length, more of them than dimensions.

    k-means for the clusters (the same for the same vectors), singular values for the directions.
    """
    from sklearn.cluster import KMeans  # of the evaluation's extra, and only fitting needs it

    centre = vectors.mean(axis=0, dtype=np.float64)
    _, deviations, components = np.linalg.svd(vectors - centre, full_matrices=False)
    labels = KMeans(clusters, n_init=4, random_state=0).fit_predict(vectors)
    coordinates = (vectors - centre) @ components[:kept].T
    means = np.stack([coordinates[labels == one].mean(axis=0) for one in range(clusters)])
    factors = np.zeros((clusters, directions, kept))
    left_out = np.zeros(kept)
    for one in range(clusters):
        mine = coordinates[labels == one] - means[one]
        outer, sizes, inner = np.linalg.svd(mine, full_matrices=False)
        some = min(directions, len(sizes))
        factors[one, :some] = sizes[:some, None] * inner[:some] / np.sqrt(len(mine))
        left_out += np.square((outer[:, some:] * sizes[some:]) @ inner[some:]).sum(axis=0)
    remainder = np.concatenate([np.sqrt(left_out), deviations[kept:]]) / np.sqrt(len(vectors))
    shares = np.bincount(labels, minlength=clusters) / len(vectors)
    fields = (shares, centre, components[:kept], means, factors, remainder)
    return Mixture(**dict(zip(FIELDS, (one.astype(np.float32) for one in fields), strict=True)))


def save(mixture: Mixture, file: Path = FILE) -> None:
    """In half precision, which moves no vector by more than other processors do."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **{name: value.astype(np.float16) for name, value in asdict(mixture).items()})
    whole_files.write(file.resolve(), packed.getvalue())


@cache
def load(file: Path = FILE) -> Mixture:
    """The mixture that is kept beside this module."""
    with np.load(file) as kept:
        return Mixture(**{name: kept[name].astype(np.float32) for name in FIELDS})


FIELDS = ("weights", "centre", "axes", "means", "factors", "remainder")


def _rotation(dimensions: int, random: np.random.Generator) -> Vectors:
    turned, signs = np.linalg.qr(random.standard_normal((dimensions, dimensions)))
    return (turned * np.sign(np.diag(signs))).astype(np.float32)
