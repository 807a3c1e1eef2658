"""The methods that are compared, each behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.collection import Item

Features = NDArray[Any]  # one row per image or text
Similarities = NDArray[np.float32]  # (queries, gallery), from -1 to 1, larger is more alike

SIDE = 256  # pixels of the shorter side, of the pictures that methods without a size of their own are given


@runtime_checkable
class Method(Protocol):
    """Turns images, and perhaps texts, into features, and says how alike these are."""

    @property
    def name(self) -> str: ...

    @property
    def side(self) -> int:
        """The shorter side, in pixels, that its pictures should have at least: `min_side` of decoding."""
        ...

    @property
    def supports_text(self) -> bool: ...

    def image_features(self, items: Sequence[Item], pictures: Sequence[Image.Image]) -> Features:
        """(n, …): a row for each picture (RGB, upright); `items` are theirs, in the same order."""
        ...

    def text_features(self, texts: Sequence[str]) -> Features: ...

    def similarities(self, queries: Features, gallery: Features) -> Similarities: ...


@runtime_checkable
class Reranker(Method, Protocol):
    """Brings the first answers of another method into an order of its own."""

    @property
    def base(self) -> Method: ...

    @property
    def most_queries(self) -> int:
        """The most queries for a reasonable time: of more, so many are sampled."""
        ...

    def reranked(self, first: Similarities, queries: Features, gallery: Features) -> Similarities:
        """`first` is the base's answer to these queries, -inf where an image mustn't be shown."""
        ...


class UnitVectors:
    """For methods whose features are rows of unit length, compared by their cosine."""

    supports_text = False

    def similarities(self, queries: Features, gallery: Features) -> Similarities:
        return np.asarray(queries @ gallery.T, np.float32)

    def text_features(self, texts: Sequence[str]) -> Features:
        raise NotImplementedError(f"{type(self).__name__} has no text side: see supports_text.")
