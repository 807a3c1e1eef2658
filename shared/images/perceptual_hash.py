"""A picture in 64 bits: copies of it, resized or compressed anew, keep nearly all of them."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image

SIDE = 32  # pixels of the picture that is transformed
KEPT = 8  # of its lowest frequencies, in each direction
REDUCING_GAP = 3.0  # first to three times the side by plain averages: a third of the time, the same bits


def perceptual_hash(picture: Image.Image) -> str:
    """64 times 0 or 1: which low frequencies of the grey picture are above their median.

    The discrete cosine transform's hash (pHash) of Zauner, *Implementation and Benchmarking of Perceptual
    Image Hash Functions*, 2010, bit for bit as the package imagehash has it, but for rounding.
    """
    size = (SIDE, SIDE)
    grey = picture.convert("L").resize(size, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    cosines = _cosines()
    # Rounded, so that all plain pictures have the same.
    low = np.round(cosines @ np.asarray(grey, np.float64) @ cosines.T, 6)
    return "".join("1" if bit else "0" for bit in (low > np.median(low)).flat)


@functools.cache
def _cosines() -> np.ndarray:
    """The first rows of the transform (DCT-II), (KEPT, SIDE)."""
    return np.cos(np.pi * np.outer(np.arange(KEPT), np.arange(SIDE) + 0.5) / SIDE)
