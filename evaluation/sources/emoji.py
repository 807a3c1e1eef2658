"""The public set: 849 emoji, each in the drawings of two vendors, with category, name and keywords.

Microsoft's are of the npm package @lobehub/fluent-emoji-3d (MIT), Google's and the words of
emoji-datasource-google (MIT; the drawings are Noto's, Apache-2.0). To find the same emoji in the other
vendor's drawing is a hard task: nothing but the emoji is the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from evaluation.collection import Collection, Item
from evaluation.sources import npm
from evaluation.sources.npm import Package
from shared.errors import CollectionError
from shared.settings import Settings

FLUENT = Package(
    name="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    sha512="Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
)
GOOGLE = Package(
    name="emoji-datasource-google",
    version="16.0.0",
    sha512="ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
)
DRAWINGS = "img/google/64/"
WORDS = "emoji.json"

# The categories of things that one can photograph. Faces, gestures, flags and signs differ by details alone.
CATEGORIES = ("Activities", "Animals & Nature", "Food & Drink", "Objects", "Travel & Places")
SPLITS = ("dev", "test")


def public_set(configuration: Settings, split: str, say: Callable[[str], None]) -> Collection:
    """As `collection`, in the cache that the settings name; `say` hears that it has to be fetched first."""
    cache = configuration.embedding_cache / "npm"
    check_split(split)
    if not is_here(cache):
        say("Fetching the public set with npm, once (90 MB) …")
    return collection(cache, split)


def collection(cache: Path, split: str = "test") -> Collection:
    """1,698 drawings, labelled by category and grouped by emoji.

    Only the emoji of `split` have captions, so text queries are measured on those alone: models and prompts
    are to be tuned on `dev`, and never looked at on `test`.
    """
    check_split(split)
    return _collection(cache, f"emoji:{split}", (split,))


def captioned(cache: Path) -> Collection:
    """The same with the captions of both parts, for choices on halves of their own."""
    return _collection(cache, "emoji", SPLITS)


def _collection(cache: Path, name: str, splits: Sequence[str]) -> Collection:
    fluent = npm.fetch(FLUENT, cache, lambda path: path.startswith("assets/") or _is_notice(path))
    google = npm.fetch(
        GOOGLE, cache, lambda path: path.startswith(DRAWINGS) or path == WORDS or _is_notice(path)
    )
    rows = json.loads((google / WORDS).read_bytes())
    items = [item for row in rows for item in _items(row, fluent, google, splits)]
    return Collection(name=name, items=tuple(items))


def check_split(name: str) -> None:
    """CollectionError unless it is `dev` or `test`."""
    if name not in SPLITS:
        raise CollectionError(f"The public set has no part {name!r}. Expected one of: {', '.join(SPLITS)}.")


def is_here(cache: Path) -> bool:
    """Whether `collection` needs no fetching."""
    return all((cache / package.folder).is_dir() for package in (FLUENT, GOOGLE))


def split_of(name: str) -> str:
    """`dev` or `test`, by a hash of code points such as `1f34e`, or of a caption: the same for ever."""
    return SPLITS[hashlib.sha256(name.encode()).digest()[0] % len(SPLITS)]


def _items(row: dict[str, Any], fluent: Path, google: Path, splits: Sequence[str]) -> Iterator[Item]:
    codes = row["unified"].lower()
    drawings = {"fluent": fluent / "assets" / f"{codes}.webp", "google": google / DRAWINGS / row["image"]}
    if row["category"] not in CATEGORIES or not all(path.exists() for path in drawings.values()):
        return  # the newest emoji have no drawing in Microsoft's set
    for vendor, path in drawings.items():
        yield Item(
            key=f"{vendor}/{row['short_name']}{path.suffix}",
            read=_reader(path),
            label=row["category"],
            captions=_captions(row) if split_of(codes) in splits else (),
            group=codes,
            rendition=vendor,
        )


def _captions(row: dict[str, Any]) -> tuple[str, ...]:
    """The name and the keywords, each once: `black joker`, `mahjong tile red dragon`, `mahjong`."""
    words = [row["name"].lower(), *(name.replace("_", " ").replace("-", " ") for name in row["short_names"])]
    return tuple(dict.fromkeys(words))


def _reader(path: Path) -> Callable[[], bytes]:
    return partial(Path.read_bytes, path)


def _is_notice(path: str) -> bool:
    return path in ("LICENSE", "README.md", "package.json")
