"""A table of images: CSV with a header line, or JSONL, with the columns image, label, caption and group."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from evaluation.collection import MOST_BYTES, Collection, Item
from shared.errors import CollectionError
from shared.images import image_files

COLUMNS = ("image", "label", "caption", "group", "rendition")
SUFFIXES = {".csv", ".jsonl", ".ndjson"}

SHOWN = 200  # characters of a wrong value

Row = tuple[int, dict[str, Any]]  # with its number as an editor shows it


def collection(path: Path, *, max_bytes: int = MOST_BYTES) -> Collection:
    """The images that the table names, relative to its folder.

    An image may have several rows, one for each of its captions; `caption` may also be a list in JSONL. Other
    columns are ignored.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CollectionError(
            f"{str(path)!r} can't be read: {error}. Expected a table in UTF-8.", value=str(path)
        ) from error
    rows = _csv(text, path) if path.suffix.lower() == ".csv" else _jsonl(text, path)
    items = _items(rows, path, max_bytes)
    if not items:
        raise CollectionError(f"{str(path)!r} has no rows. Name one image a line.", value=str(path))
    return Collection(name=path.stem, items=tuple(items))


def _csv(text: str, path: Path) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if "image" not in (reader.fieldnames or ()):
        raise CollectionError(
            f"{str(path)!r} has the columns {', '.join(reader.fieldnames or ()) or 'none'}. "
            f"Expected a header line with image, and any of {', '.join(COLUMNS[1:])}.",
            value=list(reader.fieldnames or ()),
        )
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:  # a field of more than 128 KiB
        raise _wrong(path, reader.line_num, f"is no CSV ({error})", reader.fieldnames) from error


def _jsonl(text: str, path: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _wrong(path, number, f"is no JSON ({error})", line) from error
        if not isinstance(row, dict):
            raise _wrong(path, number, "is no JSON object", line)
        yield number, row


def _items(rows: Iterable[Row], path: Path, max_bytes: int) -> list[Item]:
    found: dict[str, Item] = {}
    for number, row in rows:
        item = _item(number, row, path, max_bytes)
        found[item.key] = _merged(found[item.key], item, path, number) if item.key in found else item
    return list(found.values())


def _item(number: int, row: dict[str, Any], path: Path, max_bytes: int) -> Item:
    image = row.get("image")
    if not isinstance(image, str) or not _is_text(image):
        raise _wrong(path, number, "names no image", image)
    captions = row.get("caption")
    captions = captions if isinstance(captions, list) else [captions]
    if not all(caption in (None, "") or _is_text(caption) for caption in captions):
        raise _wrong(path, number, "has a caption that is no text", row["caption"])
    return Item(
        key=Path(image).as_posix(),  # ./a.jpg is a.jpg
        read=partial(image_files.read, path.parent / image, max_bytes),
        captions=tuple(caption for caption in captions if caption),
        **{name: _name(number, row, name, path) for name in ("label", "group", "rendition")},
    )


def _name(number: int, row: dict[str, Any], column: str, path: Path) -> str | None:
    value = row.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, (dict, list)) or not _is_text(str(value)):
        raise _wrong(path, number, f"has a {column} that is no text", value)
    return str(value)


def _is_text(value: Any) -> bool:
    """Whether it can name a file and be written in UTF-8: not empty, no zero byte, no half of a pair."""
    return isinstance(value, str) and bool(value) and not re.search("[\0\ud800-\udfff]", value)


def _merged(first: Item, second: Item, path: Path, number: int) -> Item:
    named = [(first.label, second.label), (first.group, second.group), (first.rendition, second.rendition)]
    if not second.captions or any(before != after for before, after in named):
        raise _wrong(
            path, number, "names an image again, with no further caption or with another label", first.key
        )
    return Item(
        key=first.key,
        read=first.read,
        captions=first.captions + second.captions,
        label=first.label,
        group=first.group,
        rendition=first.rendition,
    )


def _wrong(path: Path, number: int, what: str, value: Any) -> CollectionError:
    return CollectionError(
        f"Line {number} of {str(path)!r} {what}: {_shortened(value)}. Expected image, and any of "
        f"{', '.join(COLUMNS[1:])}.",
        value=value,
    )


def _shortened(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]} …"
