"""Photographs as cameras and phones make them, from the sample images: the same for the same seed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from shared.errors import SettingsError
from shared.settings import CHECKOUT

SAMPLES = CHECKOUT / "examples" / "images"
GRAIN = 4.0  # standard deviation, of 255: enlarged samples are too smooth, and decode faster than photographs
QUALITY = 90


def samples() -> list[Path]:
    """The sample images, by path; SettingsError where there are none."""
    if paths := sorted(SAMPLES.rglob("*.jpg")):
        return paths
    raise SettingsError(f"There are no sample images in {SAMPLES}. Run this in a checkout.")


def photographs(width: int, height: int, count: int, seed: int) -> Iterator[bytes]:
    """`count` JPEGs of that size."""
    paths = samples()
    random = np.random.default_rng(seed)
    for path in random.choice(np.array(paths), count, replace=count > len(paths)):
        yield _made(Path(path), (width, height), random)


def _made(path: Path, size: tuple[int, int], random: np.random.Generator) -> bytes:
    with Image.open(path) as sample:
        picture = sample.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    grain = random.standard_normal((size[1], size[0], 1), np.float32) * GRAIN
    pixels = np.clip(np.asarray(picture, np.float32) + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
