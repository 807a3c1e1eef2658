"""Chance: the score of a method that knows nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from evaluation import seeds
from evaluation.collection import Item
from evaluation.methods import Features, UnitVectors

DIMENSIONS = 32


class Chance(UnitVectors):
    """A random direction for every image and text, by its key and the seed."""

    name = "random"
    supports_text = True

    def __init__(self, side: int, seed: int):
        self.side = side
        self._seed = seed

    def image_features(self, items: Sequence[Item], pictures: Sequence[Image.Image]) -> Features:
        """float32 (n, 32)."""
        return self._directions("image", [item.key for item in items])

    def text_features(self, texts: Sequence[str]) -> Features:
        """float32 (n, 32)."""
        return self._directions("text", texts)

    def _directions(self, kind: str, names: Sequence[str]) -> Features:
        drawn = [seeds.generator(self._seed, "chance", kind, name).normal(size=DIMENSIONS) for name in names]
        rows = np.array(drawn).reshape(-1, DIMENSIONS)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
