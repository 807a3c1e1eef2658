"""Which images may be copies of each other, by their hashes: every pair that the database might confirm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BITS = 6  # as in neural_search.are_duplicates
LEAST_ONES = 24  # likewise: plain pictures' hashes have fewer, and say nothing
BITS = 64
# Of so many bands two hashes have at least one in common, if they differ in no more than MOST_BITS bits.
BANDS = MOST_BITS + 1
AT_ONCE = 1000  # hashes of a band compared with all others of it

Hashes = NDArray[np.uint64]


class Groups:
    """Ids that belong together: a disjoint-set forest (Galler & Fischer 1964)."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def join(self, first: int, second: int) -> None:
        """Makes one group of the two's."""
        self._parents[self._root(first)] = self._root(second)

    def joined(self, first: int, second: int) -> bool:
        """Whether they belong together already."""
        return self._root(first) == self._root(second)

    def all(self) -> list[list[int]]:
        """Every group of two or more, ascending."""
        return [group for group in self.parts(sorted(self._parents)) if len(group) > 1]

    def parts(self, ids: Sequence[int]) -> list[list[int]]:
        """These ids, each with those of them that it belongs together with."""
        parts: defaultdict[int, list[int]] = defaultdict(list)
        for one in ids:
            parts[self._root(one)].append(one)
        return list(parts.values())

    def _root(self, one: int) -> int:
        parents = self._parents
        while (parent := parents.setdefault(one, one)) != one:
            parents[one] = one = parents[parent]
        return one


def pairs(rows: Sequence[dict[str, Any]], groups: Groups) -> Iterator[tuple[int, int]]:
    """Ids of rows (id, content_hash, perceptual_hash) that may be duplicates, less those in one group.

    To be joined as they come: then thousands of copies of an image are thousands of pairs and not millions.
    """
    yield from _same(rows)
    hashed = [row for row in rows if (row["perceptual_hash"] or "").count("1") >= LEAST_ONES]
    if not hashed:
        return
    ids: defaultdict[int, list[int]] = defaultdict(list)
    for row in hashed:
        ids[int(row["perceptual_hash"], 2)].append(row["id"])
    for members in ids.values():
        yield from _within(members, groups)
    for first, second in _near(np.array(list(ids), np.uint64)):
        yield from _across(ids[first], ids[second], groups)


def _same(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Pairs that join the rows of the same bytes."""
    members: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        if content_hash := row["content_hash"]:
            members[content_hash].append(row["id"])
    for ids in members.values():
        yield from pairwise(ids)


def _within(members: list[int], groups: Groups) -> Iterator[tuple[int, int]]:
    """Each with all others but those that are joined with it by then: a breadth-first search."""
    left = list(members)
    reached: list[int] = []
    while left:
        one = reached.pop() if reached else left.pop()
        yield from ((one, other) for other in left)
        reached += [other for other in left if groups.joined(one, other)]
        left = [other for other in left if not groups.joined(one, other)]


def _across(firsts: list[int], seconds: list[int], groups: Groups) -> Iterator[tuple[int, int]]:
    """Each of the firsts with each of the seconds, part by part until these are joined."""
    for some, others in product(groups.parts(firsts), groups.parts(seconds)):
        for first, second in product(some, others):
            if groups.joined(first, second):
                break
            yield first, second


def _near(hashes: Hashes) -> Iterator[tuple[int, int]]:
    """Every two different hashes that differ in at most MOST_BITS bits, once."""
    edges = np.linspace(0, BITS, BANDS + 1).astype(int)
    for low, high in pairwise(edges.tolist()):
        mask = np.uint64(((1 << (high - low)) - 1) << low)
        earlier = [(a, b) for a, b in pairwise(edges.tolist()) if b <= low]
        band = hashes & mask
        order = np.argsort(band, kind="stable")
        for block in np.split(hashes[order], np.flatnonzero(np.diff(band[order])) + 1):
            yield from _near_within(block, earlier)


def _near_within(block: Hashes, earlier: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Pairs of one band's block, less those that had an earlier band in common."""
    for start in range(0, len(block) - 1, AT_ONCE):
        part = block[start : start + AT_ONCE]
        different = part[:, None] ^ block[None, start:]
        near = np.triu(np.bitwise_count(different) <= MOST_BITS, 1)
        for first, second in np.argwhere(near):
            bits = int(different[first, second])
            if not any(bits >> low & ((1 << (high - low)) - 1) == 0 for low, high in earlier):
                yield int(part[first]), int(block[start + second])
