"""The images that are evaluated, and the knowledge about them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.errors import CollectionError
from shared.settings import DEFAULTS

MOST_BYTES = int(DEFAULTS["max_image_bytes"])  # of an image file, unless its reader says otherwise


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image of a collection."""

    key: str  # unique in its collection: a path, or an object's name
    read: Callable[[], bytes]  # the image file
    label: str | None = None  # its class
    captions: tuple[str, ...] = ()  # texts that should find it
    group: str | None = None  # items of one group show the same thing
    rendition: str | None = None  # whose picture of it: pairs are looked for among the others'


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Items in the order of their keys, each key once; CollectionError otherwise."""

    name: str
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        twice = sorted(key for key, count in Counter(item.key for item in self.items).items() if count > 1)
        if twice:
            raise CollectionError(
                f"{self.name}: {len(twice)} keys appear more than once, the first is {twice[0]!r}. "
                "Name every image once.",
                value=twice[0],
            )
        object.__setattr__(self, "items", tuple(sorted(self.items, key=lambda item: item.key)))

    @property
    def labels(self) -> int:
        """How many different labels there are."""
        return len({item.label for item in self.items} - {None})

    def only(self, keys: Mapping[str, object]) -> Collection:
        """The collection of those items whose keys are in `keys`."""
        return Collection(name=self.name, items=tuple(item for item in self.items if item.key in keys))

    def fingerprint(self, digests: Mapping[str, str]) -> str:
        """Hexadecimal SHA-256 of the items; `digests` has each file's own under the item's key."""
        digest = hashlib.sha256()
        for item in self.items:
            known = (item.label, item.captions, item.group, item.rendition)
            digest.update(repr((item.key, digests.get(item.key), known)).encode())
        return digest.hexdigest()
