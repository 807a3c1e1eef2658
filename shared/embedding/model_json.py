"""model.json of an exported model: the preparation of pictures and texts for its towers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from PIL.Image import Resampling

from shared.embedding.families import Padding
from shared.embedding.model_config import Resize
from shared.embedding.registry import DESCRIPTION
from shared.errors import ModelBroken

RESIZES = (Resize.stretch, Resize.shortest)
RESAMPLES = {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class Texts:
    """How texts are prepared: `text` in model.json."""

    length: int  # tokens that the text tower takes at most
    padding: Padding
    padding_side: str = "right"
    pad_id: int | None = None  # the token that fills up; None: that of tokenizer.json's own padding
    lower_case: bool = False  # whether texts are lower-cased before the tokenizer


@dataclass(frozen=True, kw_only=True)
class Description:
    """model.json."""

    dimensions: int
    size: int  # height and width of the image tower's input, in pixels
    resize: Resize  # stretch, or shortest: the shorter side to `edge`, then a centre crop
    mean: tuple[float, float, float]  # on the scale 0 to 1, as torchvision's Normalize takes it
    std: tuple[float, float, float]
    licence: str
    edge: int = 0  # 0: size
    resample: str = "bicubic"
    text: Texts | None = None  # None: it has no text side
    # Vectors that the authors' code made, by the picture's file name and by the text.
    reference: dict[str, dict[str, list[float]]] | None = None


def read(folder: Path) -> Description:
    """The folder's. ModelBroken, saying how, where it is wrong."""
    path = folder / DESCRIPTION
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise wrong(folder, path.name, "a file that can be read", error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise wrong(folder, path.name, "JSON", str(error)) from error
    told: Description = _typed(folder, Description, data)
    if told.edge and told.edge < told.size:
        raise wrong(folder, path.name, f"edge: at least size, which is {told.size}", str(told.edge))
    return replace(told, text=_typed(folder, Texts, told.text) if told.text is not None else None)


def _typed(folder: Path, kind: Any, data: Any) -> Any:
    known = {field.name: field for field in fields(kind)}
    if not isinstance(data, dict) or (unknown := sorted(data.keys() - known)):
        found = f"also {', '.join(unknown)}" if isinstance(data, dict) else repr(data)
        raise wrong(folder, DESCRIPTION, f"an object of {', '.join(known)}", found)
    for name, value in data.items():
        expected, fits = KINDS[name]
        if not fits(value):
            raise wrong(folder, DESCRIPTION, f"{name}: {expected}", repr(value))
    try:
        made = kind(**data)
    except TypeError as error:  # which names the fields that are missing
        raise wrong(folder, DESCRIPTION, f"an object of {', '.join(known)}", str(error)) from error
    return made


def _whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _three(value: Any) -> bool:
    numbers = (
        isinstance(value, list) and len(value) == 3 and all(isinstance(one, int | float) for one in value)
    )
    return numbers and all(0 <= one <= 1 for one in value)


def _words(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _reference(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {"images", "texts"}:
        return False
    sides = value.values()
    return all(isinstance(side, dict) and all(map(_vector, side.values())) for side in sides)


def _vector(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, int | float) for one in value)


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "dimensions": ("a whole number of 1 to 16000", lambda value: _whole(value, 16000)),
    "size": ("a whole number of pixels, 8 to 2048", lambda value: _whole(value, 2048) and value >= 8),
    "edge": ("a whole number of pixels, at most 2048", lambda value: value == 0 or _whole(value, 2048)),
    "resize": (f"one of {', '.join(RESIZES)}", lambda value: value in RESIZES),
    "resample": (f"one of {', '.join(RESAMPLES)}", lambda value: value in tuple(RESAMPLES)),
    "mean": ("three numbers of 0 to 1", _three),
    "std": ("three numbers above 0, at most 1", lambda value: _three(value) and all(value)),
    "licence": ("the weights' licence, as its authors name it", _words),
    "length": ("a whole number of tokens, 2 to 8192", lambda value: _whole(value, 8192) and value >= 2),
    "padding": (f"one of {', '.join(Padding)}", lambda value: value in tuple(Padding)),
    "padding_side": ("right or left", lambda value: value in ("right", "left")),
    "pad_id": ("a token's number", lambda value: value in (None, 0) or _whole(value, 10**7)),
    "text": ("an object, or none", lambda value: value is None or isinstance(value, dict)),
    "lower_case": ("true or false", lambda value: isinstance(value, bool)),
    "reference": ('{"images": {file: vector}, "texts": {text: vector}}', _reference),
}


def wrong(folder: Path, file: str, expected: str, found: str | None) -> ModelBroken:
    """The error for a file of the folder."""
    return ModelBroken(f"{str(folder / file)!r} can't be used: expected {expected}, found {found}.")
