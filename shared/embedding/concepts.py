"""The concepts that the classifier knows: its 1000 classes, and WordNet's kinds above them.

A text is compared with these concepts' names. The sentence vectors of their names are kept beside
this file: computing them would take longer than all else when the model is converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES = 1000  # of ImageNet-1k
TABLE = Path(__file__).with_name("imagenet_concepts.tsv")
VECTORS = Path(__file__).with_name("imagenet_concepts.npy")


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A WordNet synset: a class, or a kind of which some classes are."""

    synset: str  # n and the offset in WordNet 3.0's data.noun
    lemmas: str  # its names, with commas
    classes: tuple[int, ...]  # the classifier's outputs that belong to it

    def to_row(self) -> str:
        return "\t".join([self.synset, self.lemmas, " ".join(map(str, self.classes))])

    @classmethod
    def from_row(cls, row: str) -> Concept:
        synset, lemmas, classes = row.split("\t")
        return cls(synset=synset, lemmas=lemmas, classes=tuple(int(number) for number in classes.split()))


def read(path: Path = TABLE) -> list[Concept]:
    """The classes in the order of the classifier's outputs, then the kinds."""
    lines = path.read_text("utf-8").splitlines()
    return [Concept.from_row(line) for line in lines if not line.startswith("#")]


def members(concepts: Sequence[Concept]) -> NDArray[np.float32]:
    """(concepts, classes): each row the mean over the classes of a concept."""
    shares = np.zeros((len(concepts), CLASSES), np.float32)
    for row, concept in enumerate(concepts):
        shares[row, list(concept.classes)] = 1 / len(concept.classes)
    return shares


def name_vectors() -> NDArray[np.float16]:
    """(concepts, 384), rows of unit length: the sentence vectors of their names."""
    vectors: NDArray[np.float16] = np.load(VECTORS)
    return vectors
