"""The trials of confidence: queries to a collection that has their category, and to one that hasn't.

A query's own category is missing, or another one: both collections then lack one, and nothing but the
question whether it is the query's own can tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation import seeds

KINDS = ("image", "text", "mixed")
FIRST = 10  # answers of a query that are looked at
SAMPLED = 256  # images that stand for a collection

Values = NDArray[np.float64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Images:
    """One collection's images, as vectors."""

    name: str
    vectors: Vectors  # (n, dimensions), of unit length
    categories: NDArray[np.str_]
    groups: NDArray[np.str_]  # images of a group show the same thing
    captions: tuple[tuple[str, ...], ...]

    def half(self, number: int) -> Images:
        """The images of the groups that belong to half 0 or 1, the same for ever."""
        halves = {
            group: int(seeds.generator(0, "half", str(group)).integers(2)) for group in set(self.groups)
        }
        rows = np.array([row for row, group in enumerate(self.groups) if halves[group] == number])
        return Images(
            name=self.name,
            vectors=self.vectors[rows],
            categories=self.categories[rows],
            groups=self.groups[rows],
            captions=tuple(self.captions[row] for row in rows),
        )


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Queries to a collection, as vectors."""

    vectors: Vectors
    rows: NDArray[np.intp]  # the images that they were made of: they are no answers, except to a text
    hides: bool  # whether those images are left out of the answers


@dataclass(frozen=True, kw_only=True)
class Usual:
    """The usual similarities: of one query each (n,), and of pairs of images."""

    mean: Values
    deviation: Values
    quarter: Values  # the first quartile
    median: Values
    three_quarters: Values
    pair_mean: Values
    pair_deviation: Values
    pair_high: Values  # the 95th percentile


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The answers of every query of one collection, kind and half."""

    collection: str
    kind: str
    clusters: tuple[str, ...]
    best: Values  # (n,): the highest similarity, with the query's category there
    best_without: Values  # the same without it
    true: Values  # (n, FIRST): similarities of answers of the query's category, the others being NaN
    usual: Usual
    usual_without: Usual


def queries(images: Images, kind: str, embed: Callable[[Sequence[str]], Vectors]) -> Queries:
    """Each image, each different caption, or each image that has one with its first caption."""
    if kind == "image":
        return Queries(vectors=images.vectors, rows=np.arange(len(images.vectors)), hides=True)
    if kind == "mixed":
        captioned = [row for row, captions in enumerate(images.captions) if captions]
        texts = embed([images.captions[row][0] for row in captioned])
        mixed = images.vectors[captioned] + texts
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        return Queries(vectors=mixed, rows=np.array(captioned), hides=True)
    carriers: dict[str, int] = {}
    for row, captions in enumerate(images.captions):
        for caption in captions:
            carriers.setdefault(caption, row)
    return Queries(vectors=embed(list(carriers)), rows=np.array([*carriers.values()]), hides=False)


def tried(images: Images, kind: str, asked: Queries, seed: int = 0) -> Trial:
    """Every query put to the collection without another category, drawn by the seed, and without its own."""
    random = seeds.generator(seed, "confidence", images.name, kind)
    names = sorted(set(images.categories))
    own = images.categories[asked.rows]
    others = np.array([random.choice([name for name in names if name != mine]) for mine in own])
    samples = {name: _sample(images.categories != name, random) for name in names}
    similarities = (asked.vectors @ images.vectors.T).astype(float)
    itself = asked.rows if asked.hides else np.full(len(asked.rows), -1)
    best, true = _answers(similarities, images.categories, own, others, itself)
    best_without, _ = _answers(similarities, images.categories, own, own, itself)
    return Trial(
        collection=images.name,
        kind=kind,
        clusters=tuple(images.groups[asked.rows]),
        best=best,
        best_without=best_without,
        true=true,
        usual=usual(similarities, images.vectors, samples, others, itself),
        usual_without=usual(similarities, images.vectors, samples, own, itself),
    )


def _answers(
    similarities: Values,
    categories: NDArray[np.str_],
    own: NDArray[np.str_],
    gone: NDArray[np.str_],
    itself: NDArray[np.intp],
) -> tuple[Values, Values]:
    shown = np.where(categories[None] == gone[:, None], -np.inf, similarities)
    hidden = np.flatnonzero(itself >= 0)
    shown[hidden, itself[hidden]] = -np.inf
    order = np.argsort(-shown, axis=1, kind="stable")[:, :FIRST]
    found = np.take_along_axis(shown, order, axis=1)
    return found[:, 0], np.where(categories[order] == own[:, None], found, np.nan)


def _sample(there: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.intp]:
    rows = np.flatnonzero(there)
    return np.sort(random.choice(rows, min(SAMPLED, len(rows)), replace=False))


def usual(
    similarities: Values,
    vectors: Vectors,
    samples: dict[str, NDArray[np.intp]],
    gone: NDArray[np.str_],
    itself: NDArray[np.intp],
) -> Usual:
    """The usual ones of queries with similarities (n, images), in the sample without the category `gone`.

    The image of row `itself` is left out of a query's sample.
    """
    own = np.array(
        [
            _of_a_query(line[sample[sample != row]])
            for line, row, sample in zip(similarities, itself, (samples[name] for name in gone), strict=True)
        ]
    )
    pairs = {name: _of_pairs(vectors[sample]) for name, sample in samples.items()}
    every = np.concatenate([own, np.array([pairs[name] for name in gone])], axis=1)
    names = ("mean", "deviation", "quarter", "median", "three_quarters")
    return Usual(**dict(zip((*names, "pair_mean", "pair_deviation", "pair_high"), every.T, strict=True)))


def _of_a_query(sampled: Values) -> tuple[float, ...]:
    return (sampled.mean(), sampled.std(ddof=1), *np.quantile(sampled, [0.25, 0.5, 0.75]))


def _of_pairs(vectors: Vectors) -> tuple[float, ...]:
    pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    return (float(pairs.mean()), float(pairs.std(ddof=1)), float(np.quantile(pairs, 0.95)))
