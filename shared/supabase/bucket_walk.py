"""A bucket's objects, folder by folder, as Storage lists them.

A folder is written with its slash: that of `/x.jpg` and `a//x.jpg` has the empty name, and would else be
taken for the one that it lies in, again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

PAGE = 1000  # entries of a folder at once: the most that Storage gives
LONGEST = 1024  # characters of an object's name: Storage takes no more

Entry = dict[str, Any]
ListFolder = Callable[..., list[Entry]]  # (folder, *, limit, offset)


def prefix(folder: str) -> str:
    """`a/b/` for `/a/b`, "" for the whole bucket."""
    inner = folder.strip("/")
    return f"{inner}/" if inner else ""


def entries(list_folder: ListFolder, folder: str) -> Iterator[tuple[str, Entry]]:
    """The paths right below `folder`, a prefix, with their entries; those of folders end with a slash."""
    offset = 0
    while page := list_folder(folder, limit=PAGE, offset=offset):
        for entry in page:
            yield folder + entry["name"] + ("" if entry.get("id") else "/"), entry
        if len(page) < PAGE:
            return
        offset += len(page)


def walk(list_folder: ListFolder, folder: str) -> Iterator[tuple[str, Entry]]:
    """As `entries`, of the folders below it, too."""
    folders = [folder]
    while folders:
        for path, entry in entries(list_folder, folders.pop()):
            if not entry.get("id") and len(path) <= LONGEST:
                folders.append(path)
            yield path, entry
