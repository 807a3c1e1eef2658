"""Everyday words for the sample photographs: how often the first result is right.

`python -m evaluation.plain_words` prints it for the default model, by pixels alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluation import features
from evaluation.methods import choice
from evaluation.sources import samples
from shared import settings
from shared.images.sandbox import pool

TABLE = Path(__file__).with_name("plain_words.tsv")
FLOOR = 36  # of the words, by pixels alone
FLOOR_WITH_NAMES = 52  # as search_documents finds them by default


def read() -> dict[str, frozenset[str]]:
    """Each word with the stems of the photographs that show it."""
    rows = [line.split("\t") for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {word: frozenset(stems.split(",")) for word, stems in rows}


def stem(key: str) -> str:
    """`great_pyramid` for `monuments/great_pyramid.jpg`, `hammer` for `tools/hammer2.jpg`."""
    return re.sub(r"_?\d+$", "", Path(key).stem)


def wrong(words: Mapping[str, frozenset[str]], first: Sequence[str]) -> dict[str, str]:
    """The words whose first result, in their order, is none of theirs, with that result."""
    return {
        word: key for (word, stems), key in zip(words.items(), first, strict=True) if stem(key) not in stems
    }


def main() -> None:
    """Prints how many words' first results are right, and the others."""
    configuration, words = settings.load(), read()
    (method,) = choice.load([configuration.embedding_models[0]], configuration=configuration)
    found = features.extract(
        samples.collection().items, [method], pool.start(configuration).decode, lambda *_: None, ""
    )
    similarities = method.similarities(method.text_features([*words]), found.features[method.name])
    mistakes = wrong(words, [found.items[row].key for row in np.argmax(similarities, axis=1)])
    print(f"{len(words) - len(mistakes)} of {len(words)} words find what they name first.")
    for word, key in mistakes.items():
        print(f"{word}: {key}")


if __name__ == "__main__":
    main()
