"""The sample photographs and their vectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from shared.embedding import Embedder

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "images"


@dataclass(frozen=True)
class Photographs:
    """The sample photographs, embedded by the model as it is served here."""

    embedder: Embedder
    names: list[str]

    @cached_property
    def vectors(self) -> np.ndarray:
        return self.embedder.embed_images([(SAMPLES / name).read_bytes() for name in self.names])

    def like(self, vector: np.ndarray, count: int) -> list[str]:
        """The names of the most similar ones by cosine, best first."""
        return [self.names[i] for i in np.argsort(-(self.vectors @ vector))[:count]]

    def vector_of(self, name: str) -> np.ndarray:
        return self.vectors[self.names.index(name)]
