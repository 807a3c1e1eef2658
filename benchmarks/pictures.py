"""Small pictures made for a benchmark: as many as wanted, all different, the same for the same seed."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

SMALLEST, LARGEST = 64, 256  # pixels of a side
DESCRIPTION = f"generated JPEG, {SMALLEST} to {LARGEST} pixels a side, quality 85"


def small_jpegs(count: int, seed: int) -> Iterator[bytes]:
    """`count` JPEGs: smooth noise, which compresses about as photographs do, each with its number inside."""
    random = np.random.default_rng(seed)
    for number in range(count):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        width, height = (int(side) for side in random.integers(SMALLEST, LARGEST + 1, 2))
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=85, comment=f"{seed}/{number}")
        yield file.getvalue()
