"""A smaller collection that asks the same questions."""

from __future__ import annotations

from collections import defaultdict

from evaluation import seeds
from evaluation.collection import Collection, Item


def sampled(collection: Collection, limit: int, seed: int) -> Collection:
    """About `limit` of the images, drawn by the seed; those of one group stay together."""
    if len(collection.items) <= limit:
        return collection
    groups: dict[tuple[bool, str], list[Item]] = defaultdict(list)
    for item in collection.items:
        groups[(item.group is not None, item.group or item.key)].append(item)
    names = list(groups)
    chosen: list[Item] = []
    for place in seeds.generator(seed, "limit").permutation(len(names)):
        members = groups[names[place]]
        if len(chosen) + len(members) <= limit:
            chosen += members
        if len(chosen) == limit:
            break
    return Collection(name=collection.name, items=tuple(chosen))
