"""Pictures to the image tower's input: pure functions of a picture and its model's record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.embedding import patches
from shared.embedding.model_config import ImageInput, Resize

Box = tuple[float, float, float, float]


def batch(pictures: Sequence[Image.Image], how: ImageInput) -> list[NDArray[Any]]:
    """RGB pictures as the image tower's inputs: one array (n, height, width, 3) of bytes, or patches.

    The tower scales and normalises them itself.
    """
    if how.resize == Resize.patches:
        return patches.batch(pictures, how)
    if how.resize == Resize.pad:
        return [np.stack([pad(picture, how) for picture in pictures])]
    return [np.stack([fit(picture, how) for picture in pictures])]


def fit(picture: Image.Image, how: ImageInput) -> NDArray[np.uint8]:
    """The picture resized and cropped in one step, (height, width, 3).

    Cropping first keeps the work bounded: a picture of 1 x 20000 pixels, resized so that its shorter side
    becomes 224, would have a thousand million pixels.
    """
    height, width = how.size
    box = source_box(picture.width, picture.height, how)
    resized = picture.resize((width, height), Image.Resampling(how.resample), box=box)
    return np.asarray(resized, dtype=np.uint8)


def pad(picture: Image.Image, how: ImageInput) -> NDArray[np.uint8]:
    """The whole picture in the middle of a white canvas, (height, width, 3), as large as fits there."""
    height, width = how.size
    scale = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    canvas = Image.new("RGB", (width, height), "white")
    resized = picture.resize(size, Image.Resampling(how.resample))
    canvas.paste(resized, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(canvas, dtype=np.uint8)


def source_box(width: int, height: int, how: ImageInput) -> Box:
    """The part of a width x height picture that the tower sees: (left, top, right, bottom)."""
    if how.resize == Resize.stretch:
        return (0, 0, width, height)
    if how.resize == Resize.crop:
        return _central_square(width, height, how)
    return _after_resizing(width, height, how)


def _central_square(width: int, height: int, how: ImageInput) -> Box:
    # The evaluation crop of EfficientNet: in the original's whole pixels, with a margin of edge - size.
    side = max(1, how.size[0] * min(width, height) // how.edge)
    left, top = (width - side + 1) // 2, (height - side + 1) // 2
    return (left, top, left + side, top + side)


def _after_resizing(width: int, height: int, how: ImageInput) -> Box:
    # Where a crop of the resized picture lies in the original. Sizes and offsets round as transformers does.
    scaled_width, scaled_height = _shortest_edge(width, height, how.edge)
    top, left = (scaled_height - how.size[0]) // 2, (scaled_width - how.size[1]) // 2
    x, y = width / scaled_width, height / scaled_height
    return (left * x, top * y, min(width, (left + how.size[1]) * x), min(height, (top + how.size[0]) * y))


def _shortest_edge(width: int, height: int, edge: int) -> tuple[int, int]:
    longest = int(edge * max(width, height) / min(width, height))
    return (edge, longest) if width <= height else (longest, edge)


def grey_pictures(count: int) -> list[Image.Image]:
    """Pictures without content, for tracing and warming up."""
    return [Image.new("RGB", (64, 64), "grey") for _ in range(count)]
