"""How the results of two models differ on the same images: exact search, each image for its like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation import measures, tasks
from evaluation.collection import Collection, Item
from evaluation.ranking import blocks, in_order, rank, to_levels

DEPTH = 10
QUALITY = ("precision@10", "mAP")
SEED = 0

Vectors = NDArray[np.float32]
Neighbours = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A mean over queries with its 95% interval."""

    value: float
    low: float
    high: float


def nearest(vectors: Vectors) -> Neighbours:
    """(n, k): of each row of unit vectors the other rows nearest to it, best first; k is 10 or n - 1."""
    depth = min(DEPTH, len(vectors) - 1)
    found = np.empty((len(vectors), depth), np.int32)
    for block in blocks(len(vectors), len(vectors)):
        hidden = np.zeros((block.stop - block.start, len(vectors)), bool)
        hidden[np.arange(len(hidden)), np.arange(block.start, block.stop)] = True
        found[block] = in_order(to_levels(vectors[block] @ vectors.T), hidden)[:, :depth]
    return found


def overlaps(one: Neighbours, other: Neighbours) -> NDArray[np.float64]:
    """(n,): the share of each row's neighbours that both have, in any order."""
    shared = [len(np.intersect1d(*pair, assume_unique=True)) for pair in zip(one, other, strict=True)]
    return np.asarray(np.array(shared) / one.shape[1], float)


def figure(values: NDArray[np.float64]) -> Figure:
    low, high = measures.bootstrap_interval(values, seed=SEED)
    return Figure(value=float(values.mean()), low=low, high=high)


def quality(
    keys: Sequence[str], labels: Sequence[str | None], vectors: Vectors
) -> dict[str, NDArray[np.float64]]:
    """Each metric of QUALITY for every image that shares its label with another; empty where none does.

    `keys` are ascending and no two the same. Labelled images search the other labelled ones.
    """
    items = tuple(Item(key=key, read=bytes, label=label) for key, label in zip(keys, labels, strict=True))
    task = tasks.label_task(Collection(name="sample", items=items), seed=SEED)
    if not task.queries:
        return {}
    position = {key: row for row, key in enumerate(keys)}
    gallery = vectors[[position[item.key] for item in task.gallery]]
    asked = vectors[[position[query.key] for query in task.queries]]
    ranking = rank(task, np.arange(len(task.queries)), lambda rows: asked[rows] @ gallery.T)
    values = measures.per_query(ranking)
    return {name: values[name] for name in QUALITY}
