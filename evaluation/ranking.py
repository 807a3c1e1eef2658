"""Exact search: every query against the whole gallery, block by block, and where the right answers stand.

Similarities are compared to six decimals, and equal ones are ordered by key: the same order from run to run.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.methods import Similarities
from evaluation.tasks import Task

STEPS = 1_000_000  # from 0 to 1
CELLS = 2_000_000  # queries x gallery at once: about 60 MB for each core
HEAD = 100  # ranks whose answers are kept
SHOWN = 10  # answers kept by name
RECALLS = np.linspace(0, 1, 11)
COLUMN_BITS = 24

Search = Callable[[slice], Similarities]  # rows of the task's queries to (rows, gallery)
Counts = NDArray[np.int64]
Settled = tuple[Counts, Counts, NDArray[np.int32] | None]


@dataclass(kw_only=True)
class Ranking:
    """One method's rankings on one task, in short: of every query, or of a sample."""

    rows: NDArray[np.intp]  # which of the task's queries
    targets: Counts  # (q,) how many items are right
    found: NDArray[np.bool_]  # (q, 100): whether the answer at this rank is right; False beyond the gallery
    answers: NDArray[np.int32]  # (q, 10): positions in the gallery, -1 beyond it
    levels: NDArray[np.int32]  # (q, 10): similarities of these in millionths
    average_precision: NDArray[np.float64]  # (q,)
    reciprocal_rank: NDArray[np.float64]  # (q,)
    depths: list[int]  # the k of `recall`
    recall: NDArray[np.float64]  # (q, depths): share of the right ones among the first k
    precision: NDArray[np.float64]  # (q, 11): interpolated, at recall 0, 0.1 … 1
    matching: Counts = field(repr=False)  # (2 STEPS + 1,): pairs by similarity in millionths, from -1 up
    other: Counts = field(repr=False)
    pairs: list[NDArray[np.int32]] = field(default_factory=list, repr=False)  # by block, where they are kept


def rank(
    task: Task,
    rows: NDArray[np.intp],
    search: Search,
    *,
    keep_pairs: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Rank the gallery for the task's queries `rows`, whose similarities `search` tells for a slice of them.

    `keep_pairs` keeps every similarity, in millionths, (block, gallery) int32, less than -STEPS where hidden.
    """
    size = len(task.gallery)
    depths = _depths(size)
    ranking = Ranking(
        rows=rows,
        targets=np.zeros(len(rows), np.int64),
        found=np.zeros((len(rows), HEAD), bool),
        answers=np.full((len(rows), SHOWN), -1, np.int32),
        levels=np.zeros((len(rows), SHOWN), np.int32),
        average_precision=np.zeros(len(rows)),
        reciprocal_rank=np.zeros(len(rows)),
        depths=depths,
        recall=np.zeros((len(rows), len(depths))),
        precision=np.zeros((len(rows), len(RECALLS))),
        matching=np.zeros(2 * STEPS + 1, np.int64),
        other=np.zeros(2 * STEPS + 1, np.int64),
    )
    for done in _settled(task, ranking, search, keep_pairs):
        if progress:
            progress(done, len(rows))
    return ranking


def _settled(task: Task, ranking: Ranking, search: Search, keep_pairs: bool) -> Iterator[int]:
    """How many queries are done, after each block: products here, sorting in threads, as it takes longer."""
    waiting: deque[tuple[slice, Future[Settled]]] = deque()
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as threads:
        for block in blocks(len(ranking.rows), len(task.gallery)):
            job = threads.submit(_settle, task, ranking, block, search(block), keep_pairs)
            waiting.append((block, job))
            if len(waiting) > cores:
                yield _add(ranking, *waiting.popleft())
        while waiting:
            yield _add(ranking, *waiting.popleft())


def _settle(task: Task, ranking: Ranking, block: slice, found: Similarities, keep_pairs: bool) -> Settled:
    relevant, hidden = _masks(task, ranking.rows[block])
    levels = to_levels(found)
    _place(ranking, block, levels, relevant, hidden)
    pairs = np.where(hidden, -STEPS - 1, levels).astype(np.int32) if keep_pairs else None
    return *_count(levels, relevant, hidden), pairs


def _add(ranking: Ranking, block: slice, job: Future[Settled]) -> int:
    matching, other, pairs = job.result()
    ranking.matching += matching
    ranking.other += other
    if pairs is not None:
        ranking.pairs.append(pairs)
    return int(block.stop)


def blocks(queries: int, gallery: int) -> Iterator[slice]:
    """Slices over the queries, each with no more than CELLS pairs: always the same for the same sizes."""
    step = max(1, CELLS // max(1, gallery))
    for start in range(0, queries, step):
        yield slice(start, min(start + step, queries))


def to_levels(similarities: Similarities) -> Counts:
    """Similarities in millionths, as whole numbers."""
    return np.rint(np.clip(similarities, -1, 1) * STEPS).astype(np.int64)


def in_order(levels: Counts, hidden: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Positions in the gallery, (q, n): best first, equal ones by position, hidden ones last."""
    columns = np.arange(levels.shape[1], dtype=np.int64)
    # One number per pair that no other of its row has: no sort can reorder ties.
    keys = ((STEPS - levels + hidden * (4 * STEPS)) << COLUMN_BITS) | columns
    keys.sort(axis=1)
    return np.asarray(keys & ((1 << COLUMN_BITS) - 1), np.int32)


def _masks(task: Task, rows: NDArray[np.intp]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    relevant = np.zeros((len(rows), len(task.gallery)), bool)
    hidden = np.zeros_like(relevant)
    for mask, positions in ((relevant, task.relevant), (hidden, task.hidden)):
        for line, row in zip(mask, rows, strict=True):
            line[positions[row]] = True
    return relevant & ~hidden, hidden


def _count(levels: Counts, relevant: NDArray[np.bool_], hidden: NDArray[np.bool_]) -> tuple[Counts, Counts]:
    size = 2 * STEPS + 1
    matching, unseen = (np.bincount(levels[mask] + STEPS, minlength=size) for mask in (relevant, hidden))
    every = np.bincount((levels + STEPS).ravel(), minlength=size)
    return matching, every - matching - unseen


def _place(
    ranking: Ranking, block: slice, levels: Counts, relevant: NDArray[np.bool_], hidden: NDArray[np.bool_]
) -> None:
    order = in_order(levels, hidden)
    right = np.take_along_axis(relevant, order, axis=1)
    targets = right.sum(axis=1)
    query, place = np.nonzero(right)  # row by row, best first
    first = np.cumsum(targets) - targets  # where each row begins in these
    nth = np.arange(len(query)) - first[query] + 1
    precision = nth / (place + 1)
    ranking.targets[block] = targets
    ranking.average_precision[block] = np.bincount(query, precision, len(targets)) / targets
    ranking.reciprocal_rank[block] = 1 / (place[first] + 1)
    for column, depth in enumerate(ranking.depths):
        ranking.recall[block, column] = right[:, :depth].sum(axis=1) / targets
    ranking.precision[block] = _interpolated(precision, first, targets)
    head, shown = min(HEAD, order.shape[1]), min(SHOWN, order.shape[1])
    ranking.found[block, :head] = right[:, :head]
    visible = np.arange(shown) < (~hidden).sum(axis=1, keepdims=True)
    ranking.answers[block, :shown] = np.where(visible, order[:, :shown], -1)
    ranking.levels[block, :shown] = np.take_along_axis(levels, order[:, :shown], axis=1)


def _interpolated(precision: NDArray[np.float64], first: Counts, targets: Counts) -> NDArray[np.float64]:
    """(q, 11): the best precision at this recall or any higher one."""
    rows = [
        _best_from(
            precision,
            first + np.maximum(np.ceil(recall * targets - 1e-9).astype(int), 1) - 1,
            first + targets,
        )
        for recall in RECALLS
    ]
    return np.stack(rows, axis=1)


def _best_from(precision: NDArray[np.float64], starts: Counts, ends: Counts) -> NDArray[np.float64]:
    bounds = np.stack([starts, ends], axis=1).ravel()
    # reduceat takes from each bound to the next; every second stretch is one that we asked for.
    return np.asarray(np.maximum.reduceat(np.append(precision, 0.0), bounds)[::2])


def _depths(size: int) -> list[int]:
    steps = [scale * digit for scale in (1, 10, 100, 1000, 10_000, 100_000) for digit in (1, 2, 5)]
    return [depth for depth in steps if depth < size] + [size]
