"""A folder of images: the sub-folder that a file lies in is its label."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from evaluation.collection import MOST_BYTES, Collection, Item
from shared.errors import CollectionError
from shared.images import image_files

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif"}


def collection(folder: Path, *, max_bytes: int = MOST_BYTES) -> Collection:
    """All images below `folder`, by their endings; those that lie in it directly have no label."""
    if not folder.is_dir():
        raise CollectionError(f"{str(folder)!r} is no folder. Name one that holds images.", value=str(folder))
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    shown = [path for path in paths if not _is_hidden(path.relative_to(folder))]
    if not shown:
        raise CollectionError(
            f"There is no image in {str(folder)!r} or below it. Expected files that end in one of: "
            f"{', '.join(sorted(SUFFIXES))}.",
            value=str(folder),
        )
    return Collection(
        name=folder.resolve().name, items=tuple(_item(path, folder, max_bytes) for path in shown)
    )


def _item(path: Path, folder: Path, max_bytes: int) -> Item:
    within = path.relative_to(folder)
    label = _text(within.parent)
    read = partial(image_files.read, path, max_bytes)
    return Item(key=_text(within), read=read, label=None if label == "." else label)


def _text(path: Path) -> str:
    r"""With `\xe9` for a byte that isn't UTF-8: file systems allow it, reports don't."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
