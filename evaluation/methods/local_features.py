"""Local features: corners that look alike in both images, in any surroundings."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.collection import Item
from evaluation.methods import SIDE, Features, Method, Similarities

KEYPOINTS = 300  # the strongest of each image
BYTES = 32  # of an ORB descriptor
EDGE = 480  # pixels of the longer side at most, of the picture that is looked at
RATIO = 0.75  # Lowe 2004: a match counts where the second best is so much farther
FIRST = 100  # answers of the base that are brought into order
MOST_QUERIES = 200


class OrbReranking:
    """The base's first 100 by how many ORB features match (Rublee et al. 2011, with Lowe's ratio test).

    Its similarity is the share of the query's features that match, for these 100; the others follow them,
    below 0, in the base's order. Equal shares keep the base's order.
    """

    supports_text = False
    side = SIDE
    most_queries = MOST_QUERIES

    def __init__(self, base: Method):
        self.base = base
        self.name = f"{base.name} + ORB"
        self._orb = cv2.ORB_create(nfeatures=KEYPOINTS)  # type: ignore[attr-defined]
        self._matcher = cv2.BFMatcher(cv2.NORM_HAMMING)

    def image_features(self, items: Sequence[Item], pictures: Sequence[Image.Image]) -> Features:
        """uint8 (n, 300, 32): descriptors, the rest of an image's rows zero."""
        rows = np.zeros((len(pictures), KEYPOINTS, BYTES), np.uint8)
        for row, picture in zip(rows, pictures, strict=True):
            descriptors = self._descriptors(picture)
            row[: len(descriptors)] = descriptors
        return rows

    def text_features(self, texts: Sequence[str]) -> Features:
        raise NotImplementedError("Local features have no text side: see supports_text.")

    def similarities(self, queries: Features, gallery: Features) -> Similarities:
        """The share of each query's features that match, with every image of the gallery."""
        return np.array([[self._share(query, image) for image in gallery] for query in queries], np.float32)

    def reranked(self, first: Similarities, queries: Features, gallery: Features) -> Similarities:
        """`first` (q, n) in the new order; -inf stays."""
        answers = np.where(np.isfinite(first), (first - 1) / 2 - 1e-3, first)
        for row, query in enumerate(queries):
            order = np.argsort(-first[row], kind="stable")[:FIRST]
            order = order[np.isfinite(first[row, order])]
            shares = np.array([self._share(query, gallery[column]) for column in order])
            # Below the step between two shares, so that it decides among equal ones alone.
            place = np.linspace(1, 0, len(order), endpoint=False) / (2 * KEYPOINTS)
            answers[row, order] = shares * (1 - 1 / KEYPOINTS) + place
        return np.asarray(np.maximum(answers, np.where(np.isfinite(first), -1, first)), np.float32)

    def _descriptors(self, picture: Image.Image) -> NDArray[np.uint8]:
        grey = picture.convert("L")
        grey.thumbnail((EDGE, EDGE), Image.Resampling.BILINEAR)
        _, descriptors = self._orb.detectAndCompute(np.asarray(grey), None)
        if descriptors is None:
            return np.empty((0, BYTES), np.uint8)
        return np.asarray(descriptors[:KEYPOINTS], np.uint8)

    def _share(self, query: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
        query, image = _filled(query), _filled(image)
        if not len(query) or len(image) < 2:
            return 0.0
        pairs = self._matcher.knnMatch(query, image, k=2)
        return sum(best.distance < RATIO * second.distance for best, second in pairs) / len(query)


def _filled(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return rows[rows.any(axis=1)]
