"""Perceptual hashes of 64 bits, by imagehash: they find copies without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import imagehash
import numpy as np
from PIL import Image

from evaluation.collection import Item
from evaluation.methods import SIDE, Features, UnitVectors

BITS = 64

# The wavelet hash would work at the largest power of two that fits; at one size its hashes compare.
HASHES: dict[str, Callable[[Image.Image], imagehash.ImageHash]] = {
    "phash": imagehash.phash,
    "dhash": imagehash.dhash,
    "whash": partial(imagehash.whash, image_scale=SIDE),
}


class PerceptualHash(UnitVectors):
    """Similarity is 1 less twice the share of the bits that differ: the cosine of the bits taken as ±1."""

    def __init__(self, name: str):
        self.name = name
        self.side = SIDE
        self._hash = HASHES[name]

    def image_features(self, items: Sequence[Item], pictures: Sequence[Image.Image]) -> Features:
        """float32 (n, 64) of ±1/8, so that cosines are exact."""
        bits = np.array([self._hash(picture).hash.ravel() for picture in pictures]).reshape(-1, BITS)
        return np.where(bits, 1, -1).astype(np.float32) / np.float32(BITS**0.5)
