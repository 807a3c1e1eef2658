"""`python -m shared.embedding.wordnet FOLDER` makes imagenet_concepts.tsv and imagenet_concepts.npy anew.

FOLDER holds the `data.noun` of WordNet 3.0 (/usr/share/wordnet of Debian's package wordnet-base). Without it,
the table is kept as it is, and only the sentence vectors are computed. Imports torch: not for serving.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.embedding import concepts
from shared.embedding.concepts import Concept

CLASS_NAMES = Path(__file__).with_name("imagenet_classes.tsv")
MOST_CLASSES = 300  # a kind of more classes (artefact, animal) says nothing of a picture
HEADER = """\
# ImageNet-1k's classes and the kinds they belong to: WordNet 3.0 synset, lemmas, classes.
# The first 1000 are the classes, in the order of a classifier's outputs. python -m shared.embedding.wordnet
# makes this file.
# WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved. \
Licence: WORDNET_LICENSE.txt, which stays beside it.
"""


@dataclass(frozen=True, kw_only=True)
class Noun:
    """A synset of data.noun (its format: wndb(5WN))."""

    lemmas: str
    hypernyms: tuple[str, ...]


def read_nouns(path: Path) -> dict[str, Noun]:
    """The nouns by their offset, as `n01440764`."""
    lines = (line for line in path.read_text("utf-8").splitlines() if not line.startswith("  "))
    return {f"n{line[:8]}": _noun(line) for line in lines}


def _noun(line: str) -> Noun:
    fields = line.partition(" | ")[0].split()
    count = int(fields[3], 16)  # of lemmas, each followed by its number in its lexicographer's file
    pointers = fields[5 + 2 * count :]  # four fields each: symbol, offset, part of speech, words
    return Noun(
        lemmas=", ".join(fields[4 : 4 + 2 * count : 2]).replace("_", " "),
        hypernyms=tuple(
            f"n{pointers[i + 1]}" for i in range(0, len(pointers) - 3, 4) if pointers[i][0] == "@"
        ),
    )


def derive(nouns: dict[str, Noun], classes: list[str]) -> list[Concept]:
    """The classes, then the kinds above them that no more than MOST_CLASSES belong to, by offset."""
    below: dict[str, list[int]] = defaultdict(list)
    for number, synset in enumerate(classes):
        for above in set(_above(synset, nouns)) - set(classes):
            below[above].append(number)
    kinds = sorted(synset for synset, numbers in below.items() if len(numbers) <= MOST_CLASSES)
    return [
        *(_concept(synset, nouns, [number]) for number, synset in enumerate(classes)),
        *(_concept(synset, nouns, below[synset]) for synset in kinds),
    ]


def _above(synset: str, nouns: dict[str, Noun]) -> Iterator[str]:
    for hypernym in nouns[synset].hypernyms:
        yield hypernym
        yield from _above(hypernym, nouns)


def _concept(synset: str, nouns: dict[str, Noun], classes: list[int]) -> Concept:
    return Concept(synset=synset, lemmas=nouns[synset].lemmas, classes=tuple(classes))


def _class_synsets() -> list[str]:
    lines = CLASS_NAMES.read_text("utf-8").splitlines()
    return [line.split("\t")[0] for line in lines if not line.startswith("#")]


def _write_table(table: list[Concept]) -> None:
    concepts.TABLE.write_text(HEADER + "".join(f"{concept.to_row()}\n" for concept in table), "utf-8")


def _write_vectors(table: list[Concept]) -> None:
    from shared.embedding.conversion.efficientnet_lite import encode_names

    np.save(concepts.VECTORS, encode_names(table).numpy().astype(np.float16))


def main(arguments: list[str]) -> None:
    if arguments:
        _write_table(derive(read_nouns(Path(arguments[0]) / "data.noun"), _class_synsets()))
    _write_vectors(concepts.read())


if __name__ == "__main__":
    main(sys.argv[1:])
