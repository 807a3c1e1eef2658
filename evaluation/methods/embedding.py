"""An embedding model, as the functions serve it."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from evaluation.collection import Item
from evaluation.methods import Features, UnitVectors
from shared.embedding import Embedder


class Embedding(UnitVectors):
    """Cosine similarity of a model's vectors: exact search."""

    def __init__(self, embedder: Embedder, name: str | None = None):
        self.embedder = embedder
        self.name = name or embedder.name
        self.side = embedder.image_size
        self.supports_text = embedder.supports_text

    def image_features(self, items: Sequence[Item], pictures: Sequence[Image.Image]) -> Features:
        """float32 (n, dimensions)."""
        return self.embedder.embed_images(pictures)

    def text_features(self, texts: Sequence[str]) -> Features:
        """float32 (n, dimensions)."""
        return self.embedder.embed_texts(texts)
