"""The colours of an image, wherever they are in it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from evaluation.collection import Item
from evaluation.methods import SIDE, Features, UnitVectors

BINS = (16, 4, 4)  # of hue, saturation, value
RANGES = [0, 180, 0, 256, 0, 256]  # OpenCV halves the hue's degrees


class ColourHistogram(UnitVectors):
    """An HSV histogram of 256 bins, compared by the Bhattacharyya coefficient (1943): Σ √(p·q)."""

    name = "colour-histogram"
    side = SIDE

    def image_features(self, items: Sequence[Item], pictures: Sequence[Image.Image]) -> Features:
        """float32 (n, 256): the square roots of the bins' shares, whose dot product is the coefficient."""
        rows = [_shares(picture) for picture in pictures]
        return np.sqrt(np.array(rows, np.float32).reshape(-1, int(np.prod(BINS))))


def _shares(picture: Image.Image) -> np.ndarray:
    hsv = cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, BINS, RANGES).ravel()
    return np.asarray(counts / counts.sum())
