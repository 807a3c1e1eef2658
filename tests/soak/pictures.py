"""Small pictures that nobody has seen before, and files that only pretend to be one."""

from __future__ import annotations

import random
from io import BytesIO

import numpy as np
from PIL import Image

SIDES = (24, 160)  # pixels, from and to


def distinct(chance: random.Random) -> tuple[bytes, str]:
    """An image file and its mime type; coarse noise, so that no two have the same bytes or a like vector."""
    coarse = np.frombuffer(chance.randbytes(6 * 6 * 3), dtype=np.uint8).reshape(6, 6, 3)
    size = (chance.randint(*SIDES), chance.randint(*SIDES))
    image = Image.fromarray(coarse).resize(
        size, chance.choice([Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
    )
    kind = chance.choice(["JPEG", "PNG"])
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue(), f"image/{kind.lower()}"


def broken(chance: random.Random) -> tuple[bytes, str]:
    """Bytes that no decoder takes for a whole image, under the name of one."""
    data, mime_type = distinct(chance)
    match chance.randrange(4):
        case 0:
            data = data[: len(data) // 2]
        case 1:
            data = chance.randbytes(len(data))
        case 2:
            data = b"<!doctype html><title>Not found</title>"
        case 3:
            data = b""
    return data, mime_type
