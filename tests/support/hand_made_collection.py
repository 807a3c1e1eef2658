"""Five images on a half circle: alikeness is read off the angles, and every figure worked out by hand.

    image   a1   a2   b1   a3   b2
    angle   0    10   25   45   70     degrees; the smaller the difference, the more alike

The results of each, nearest first, with the difference and whether the label is the same:

    a1:  a2 10 +   b1 25 -   a3 45 +   b2 70 -     2 to find
    a2:  a1 10 +   b1 15 -   a3 35 +   b2 60 -     2 to find
    a3:  b1 20 -   b2 25 -   a2 35 +   a1 45 +     2 to find
    b1:  a2 15 -   a3 20 -   a1 25 -   b2 45 +     1 to find
    b2:  a3 25 -   b1 45 +   a2 60 -   a1 70 -     1 to find
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from evaluation.collection import Collection, Item
from evaluation.methods import Features, UnitVectors
from shared.testing import picture

ANGLES = {"a1": 0, "a2": 10, "b1": 25, "a3": 45, "b2": 70}


class Angles(UnitVectors):
    """An image is the direction that its key is given in `ANGLES`."""

    name = "angles"
    side = 8

    def image_features(self, items: Sequence[Item], pictures: Sequence[Image.Image]) -> Features:
        angles = np.radians([ANGLES[item.key.split(" ")[0]] for item in items])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def five_images() -> Collection:
    """The collection of the module's docstring."""
    return Collection(name="five", items=tuple(Item(key=key, read=picture, label=key[0]) for key in ANGLES))
