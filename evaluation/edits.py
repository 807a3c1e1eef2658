"""Edits that copies of an image suffer on their way, for trying copy detection.

An edit is a pure function of picture and random numbers. The strengths are fixed, so that figures compare;
where an edit has a place, a direction or a tone, it is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from evaluation import seeds

Edit = Callable[[Image.Image, np.random.Generator], Image.Image]

WORKING_SIDE = 512  # pixels of the shorter side at most, of the picture that is edited

CROPPED_AREA = 0.5
RESIZED_SIDE = 0.25
JPEG_QUALITY = 20
BLUR_RADIUS = 0.012  # of the shorter side
COLOUR_CHANGE = 0.35
ROTATION = (8.0, 25.0)  # degrees
OVERLAID_AREA = 0.2


def crop(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """A window of half the area, of the picture's own proportions, anywhere."""
    width, height = (max(1, round(side * CROPPED_AREA**0.5)) for side in picture.size)
    left = int(random.integers(picture.width - width + 1))
    top = int(random.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def resize(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """A quarter of the width and of the height."""
    width, height = (max(1, round(side * RESIZED_SIDE)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def recompress(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Through a JPEG of quality 20."""
    file = io.BytesIO(saved(picture, "JPEG", quality=JPEG_QUALITY))
    return Image.open(file).convert("RGB")


def blur(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """A Gaussian blur whose radius is 1.2% of the shorter side."""
    return picture.filter(ImageFilter.GaussianBlur(BLUR_RADIUS * min(picture.size)))


def colour(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation each up or down by 35%."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(1 + COLOUR_CHANGE * random.choice((-1, 1)))
    return picture


def rotate(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """By 8 to 25 degrees either way, the picture made larger and its corners white."""
    angle = random.uniform(*ROTATION) * random.choice((-1, 1))
    return picture.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor="white")


def flip(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Left and right exchanged."""
    return ImageOps.mirror(picture)


def overlay(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """A box of one colour over a fifth of the area, anywhere."""
    picture = picture.copy()
    width, height = (max(1, round(side * OVERLAID_AREA**0.5)) for side in picture.size)
    left = int(random.integers(picture.width - width + 1))
    top = int(random.integers(picture.height - height + 1))
    tone = tuple(int(value) for value in random.integers(256, size=3))
    ImageDraw.Draw(picture).rectangle((left, top, left + width - 1, top + height - 1), fill=tone)
    return picture


EDITS: dict[str, Edit] = {
    edit.__name__: edit for edit in (crop, resize, recompress, blur, colour, rotate, flip, overlay)
}


def edited(picture: Image.Image, edit: str, key: str, seed: int) -> Image.Image:
    """`picture` (RGB), made no larger than the working size, after the edit of this name.

    The draw depends on the seed, the image's key and the edit alone.
    """
    picture = picture.convert("RGB")
    factor = WORKING_SIDE / min(picture.size)
    if factor < 1:
        width, height = (max(1, round(side * factor)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return EDITS[edit](picture, seeds.generator(seed, "edit", edit, key))


def png(picture: Image.Image) -> bytes:
    """The picture as a file that loses nothing, so that the edit alone is measured."""
    return saved(picture, "PNG", compress_level=1)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of this kind, by Pillow's options."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
