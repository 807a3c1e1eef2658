"""The sample photographs of examples/images: their folders are labels, their names and folders captions."""

from __future__ import annotations

import re

from evaluation.collection import Collection, Item
from evaluation.sources import emoji, folder
from shared.settings import CHECKOUT

IMAGES = CHECKOUT / "examples" / "images"
NUMBER = re.compile(r"_?\d+$")


def collection(split: str = "test") -> Collection:
    """The photographs, 201 of them; only the captions of `split` are there. Models are tuned on `dev`."""
    emoji.check_split(split)
    items = folder.collection(IMAGES).items
    return Collection(name=f"samples:{split}", items=tuple(_captioned(item, split) for item in items))


def _captioned(item: Item, split: str) -> Item:
    captions = tuple(caption for caption in _captions(item.key) if emoji.split_of(caption) == split)
    return Item(key=item.key, read=item.read, label=item.label, captions=captions)


def _captions(key: str) -> tuple[str, ...]:
    """`energy/windmill_1.jpg`: `windmill`, `energy`."""
    directory, _, file = key.rpartition("/")
    name = NUMBER.sub("", file.rpartition(".")[0]).replace("_", " ")
    return tuple(dict.fromkeys([name, directory]))
