"""Contact sheets: queries and their answers as small pictures, in the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any

from PIL import Image, ImageOps

from evaluation import edits
from evaluation.collection import Item
from shared.errors import NeuralSearchError
from shared.images import Decode

SIDE = 92  # pixels on the page; the pictures have twice as many for dense screens
ANSWERS = 7
EXAMPLES = 4  # of each kind
KINDS = {
    "best": (
        "Where it works best",
        "Queries whose right answers came first, though they are not very similar.",
    ),
    "worst": ("Where it works worst", "Queries whose right answers came last."),
    "wrong": (
        "Convincing but wrong",
        "Queries whose first answer is wrong, at the highest similarity: what a threshold doesn't keep out.",
    ),
}


class Thumbnails:
    """Small JPEGs, as data URIs, of a collection's images and of the queries made of them."""

    def __init__(self, items: Iterable[Item], seed: int, decode: Decode):
        self._items = {item.key: item for item in items}
        self._seed = seed
        self._decode = decode
        self._made: dict[tuple[str, str | None], str | None] = {}

    def image(self, key: str, edit: str | None = None) -> str | None:
        """The image, or the query that `edit` makes of it; None where it can't be shown."""
        if (key, edit) not in self._made:
            self._made[key, edit] = self._make(key, edit)
        return self._made[key, edit]

    def _make(self, key: str, edit: str | None) -> str | None:
        try:
            data = self._items[key].read()
            picture = self._decode(data, min_side=edits.WORKING_SIDE if edit else 2 * SIDE).picture
        except (NeuralSearchError, OSError, KeyError):
            return None  # it was there when it was evaluated; the rest of the report is true without it
        if edit:
            picture = edits.edited(picture, edit, key, self._seed)
        return _data_uri(ImageOps.contain(picture, (2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS))


def sheets(examples: list[dict[str, Any]], thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """The examples of one task and method, by kind, as the page shows them."""
    found = []
    for kind, (title, meaning) in KINDS.items():
        rows = [_row(one, thumbnails) for one in examples if one["kind"] == kind][:EXAMPLES]
        if rows:
            found.append({"title": title, "meaning": meaning, "rows": rows})
    return found


def _row(example: dict[str, Any], thumbnails: Thumbnails) -> dict[str, Any]:
    query, answers = example["query"], example["answers"][:ANSWERS]
    key, edit = query.get("key"), query.get("edit")
    return {
        "text": query.get("text"),
        "name": f"{key} ({edit})" if edit else key,
        "image": thumbnails.image(key, edit) if key else None,
        "answers": [_answer(answer, thumbnails) for answer in answers],
        "missed": _missed(example, thumbnails) if not any(answer["relevant"] for answer in answers) else None,
    }


def _answer(answer: dict[str, Any], thumbnails: Thumbnails) -> dict[str, Any]:
    return {
        "name": answer["key"],
        "image": thumbnails.image(answer["key"]),
        "similarity": f"{answer['similarity']:.2f}",
        "right": bool(answer["relevant"]),
    }


def _missed(example: dict[str, Any], thumbnails: Thumbnails) -> dict[str, Any] | None:
    """A right answer and its place, for a row that shows none."""
    if not example.get("expected"):
        return None
    key = example["expected"][0]
    return {"name": key, "image": thumbnails.image(key), "place": f"{example['first_right']:,}"}


def _data_uri(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
