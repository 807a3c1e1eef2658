"""The concepts that texts are compared with: the classifier's classes, and the kinds above them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.embedding import concepts, wordnet
from shared.embedding.concepts import Concept

# Two classes under one kind, which is under another that both are of, in the format of wndb(5WN).
DATA = """\
  1 This is the licence.
00000001 03 n 01 thing 0 000 | what there is
00000010 06 n 02 table_ware 0 crockery 0 001 @ 00000001 n 0000 | what stands on a table; "fine tableware"
00000020 06 n 01 plate 0 002 @ 00000010 n 0000 #p 00000001 n 0000 | a flat dish
00000030 06 n 01 cup 0 001 @i 00000010 n 0000 | a small vessel
"""


@pytest.fixture(scope="module")
def table() -> list[Concept]:
    return concepts.read()


def test_the_classes_come_first_in_the_order_of_the_classifiers_outputs(table: list[Concept]) -> None:
    lines = wordnet.CLASS_NAMES.read_text("utf-8").splitlines()
    classes = [line.split("\t") for line in lines if not line.startswith("#")]
    first = table[: concepts.CLASSES]
    assert [[concept.synset, concept.lemmas] for concept in first] == classes
    assert [concept.classes for concept in first] == [(number,) for number in range(concepts.CLASSES)]


def test_a_kind_has_classes_but_not_so_many_that_it_says_nothing(table: list[Concept]) -> None:
    kinds = {concept.lemmas: concept.classes for concept in table[concepts.CLASSES :]}
    assert all(0 < len(classes) <= wordnet.MOST_CLASSES for classes in kinds.values())
    names = [table[number].lemmas.split(",")[0] for number in kinds["tableware"]]
    assert sorted(names) == ["Petri dish", "mixing bowl", "soup bowl", "wooden spoon"]


def test_each_concept_is_the_mean_of_its_classes(table: list[Concept]) -> None:
    shares = concepts.members(table)
    assert shares.shape == (len(table), concepts.CLASSES)
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(table)))
    assert (shares[: concepts.CLASSES] == np.eye(concepts.CLASSES)).all()


def test_the_table_follows_from_wordnets_own_file(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(DATA)
    nouns = wordnet.read_nouns(tmp_path / "data.noun")
    derived = wordnet.derive(nouns, ["n00000030", "n00000020"])
    assert [(concept.lemmas, concept.classes) for concept in derived] == [
        ("cup", (0,)),
        ("plate", (1,)),
        ("thing", (0, 1)),
        ("table ware, crockery", (0, 1)),
    ]
    assert [Concept.from_row(concept.to_row()) for concept in derived] == derived
