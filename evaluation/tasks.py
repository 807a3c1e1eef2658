"""The tasks of a method: queries, the gallery they search, and which of its items would be right.

Four kinds: `label` (an image finds those of its label), `pairs` (it finds those that show the same thing),
`copies` (an edited image finds its original) and `text` (a caption finds its image).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from evaluation import edits, seeds
from evaluation.collection import Collection, Item
from shared.errors import CollectionError
from shared.images import Decode

KINDS = ("label", "pairs", "copies", "text")

# How many queries are tried at most; a larger collection's are sampled with the seed.
MOST_QUERIES = 10_000
MOST_CAPTIONS = 5_000
MOST_EDITED = 200  # images, each edited in every way

Positions = NDArray[np.int32]  # in the gallery, ascending


@dataclass(frozen=True, kw_only=True)
class Query:
    """An image or a text to search with."""

    key: str  # names it within its task
    item: Item | None = None  # the image; of an edited one the original
    edit: str | None = None  # one of evaluation.edits.EDITS
    text: str | None = None
    cluster: str  # queries of one cluster aren't independent: the bootstrap draws them together
    part: str  # by which figures can be broken down: the label, or the edit


@dataclass(frozen=True, kw_only=True)
class Task:
    """Queries, and for each the positions in the gallery that are right, and those that it mustn't be shown.

    One that is both is hidden. Every query has something to find.
    """

    kind: str
    queries: tuple[Query, ...]
    gallery: tuple[Item, ...]
    relevant: tuple[Positions, ...]
    hidden: tuple[Positions, ...]
    left_out: int = 0  # candidates that have nothing to find in the gallery
    sampled_from: int  # how many queries there would have been

    def targets(self, row: int) -> int:
        """How many items query `row` should find."""
        return len(np.setdiff1d(self.relevant[row], self.hidden[row], assume_unique=True))


def offered(collection: Collection) -> list[str]:
    """The kinds of tasks that this collection's labels, groups and captions allow."""
    return [kind for kind in KINDS if MAKERS[kind](collection, seed=0).queries]


def make(kind: str, collection: Collection, seed: int) -> Task:
    """The task of this kind; CollectionError where there is no such kind."""
    if kind not in KINDS:
        raise CollectionError(f"There is no task {kind!r}. Expected one of: {', '.join(KINDS)}.", value=kind)
    return MAKERS[kind](collection, seed=seed)


def label_task(collection: Collection, *, seed: int) -> Task:
    """Every labelled image searches the other labelled ones for those of its label: leave one out."""
    gallery = tuple(item for item in collection.items if item.label is not None)
    members = _members([item.label or "" for item in gallery])
    rows = [row for row, item in enumerate(gallery) if len(members[item.label or ""]) > 1]
    chosen = [rows[i] for i in seeds.sample(len(rows), MOST_QUERIES, seed, "label")]
    return Task(
        kind="label",
        queries=tuple(
            _image_query(gallery[row], gallery[row].key, gallery[row].label or "") for row in chosen
        ),
        gallery=gallery,
        relevant=tuple(members[gallery[row].label or ""] for row in chosen),
        hidden=tuple(_positions([row]) for row in chosen),
        left_out=len(gallery) - len(rows),
        sampled_from=len(rows),
    )


def pairs_task(collection: Collection, *, seed: int) -> Task:
    """Every grouped image searches the collection for the others of its group.

    Where items say whose rendition they are, a query searches those of the other renditions alone.
    """
    gallery = collection.items
    groups = _members([item.group or "" for item in gallery])
    renditions = _members([item.rendition or "" for item in gallery])
    grouped = [row for row, item in enumerate(gallery) if item.group is not None]
    hidden = {
        row: renditions[gallery[row].rendition or ""] if gallery[row].rendition else _positions([row])
        for row in grouped
    }
    rows = [row for row in grouped if len(np.setdiff1d(groups[gallery[row].group or ""], hidden[row]))]
    chosen = [rows[i] for i in seeds.sample(len(rows), MOST_QUERIES, seed, "pairs")]
    return Task(
        kind="pairs",
        queries=tuple(
            _image_query(gallery[row], gallery[row].group or "", gallery[row].label or "") for row in chosen
        ),
        gallery=gallery,
        relevant=tuple(groups[gallery[row].group or ""] for row in chosen),
        hidden=tuple(hidden[row] for row in chosen),
        left_out=len(grouped) - len(rows),
        sampled_from=len(rows),
    )


def copies_task(collection: Collection, *, seed: int) -> Task:
    """Edited images search the collection for their originals."""
    gallery = collection.items
    chosen = seeds.sample(len(gallery), MOST_EDITED, seed, "copies")
    asked = [(row, edit) for row in chosen for edit in edits.EDITS]
    return Task(
        kind="copies",
        queries=tuple(
            Query(
                key=f"{gallery[row].key} ({edit})",
                item=gallery[row],
                edit=edit,
                cluster=gallery[row].key,
                part=edit,
            )
            for row, edit in asked
        ),
        gallery=gallery,
        relevant=tuple(_positions([row]) for row, _ in asked),
        hidden=tuple(_positions([]) for _ in asked),
        sampled_from=len(gallery) * len(edits.EDITS),
    )


def text_task(collection: Collection, *, seed: int) -> Task:
    """Every different caption searches the collection for the images that carry it."""
    gallery = collection.items
    carriers: dict[str, list[int]] = defaultdict(list)
    for row, item in enumerate(gallery):
        for caption in dict.fromkeys(caption.strip() for caption in item.captions):
            carriers[caption].append(row)
    captions = sorted(caption for caption in carriers if caption)
    chosen = [captions[i] for i in seeds.sample(len(captions), MOST_CAPTIONS, seed, "text")]
    return Task(
        kind="text",
        # The captions of one image stand or fall together.
        queries=tuple(
            Query(key=caption, text=caption, cluster=gallery[carriers[caption][0]].key, part="")
            for caption in chosen
        ),
        gallery=gallery,
        relevant=tuple(_positions(carriers[caption]) for caption in chosen),
        hidden=tuple(_positions([]) for _ in chosen),
        sampled_from=len(captions),
    )


MAKERS = {"label": label_task, "pairs": pairs_task, "copies": copies_task, "text": text_task}


def pictures(queries: Sequence[Query], seed: int, decode: Decode) -> list[Item]:
    """The image queries as items, the edited ones edited when they are read."""
    return [_asked(query, seed, decode) for query in queries]


def _asked(query: Query, seed: int, decode: Decode) -> Item:
    assert query.item
    if query.edit is None:
        return query.item
    return Item(key=query.key, read=partial(_edited, query.item, query.edit, seed, decode))


def _edited(item: Item, edit: str, seed: int, decode: Decode) -> bytes:
    picture = decode(item.read(), min_side=edits.WORKING_SIDE).picture
    return edits.png(edits.edited(picture, edit, item.key, seed))


def _image_query(item: Item, cluster: str, part: str) -> Query:
    return Query(key=item.key, item=item, cluster=cluster, part=part)


def _members(names: Sequence[str]) -> dict[str, Positions]:
    found: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(names):
        found[name].append(position)
    return {name: _positions(rows) for name, rows in found.items()}


def _positions(rows: Sequence[int]) -> Positions:
    return np.array(rows, np.int32)
