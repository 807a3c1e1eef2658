"""The meaning of tasks, metrics and indexes, for people who have never heard of them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TaskWords:
    """How the report speaks of a kind of task."""

    title: str
    question: str  # of each query
    right: str  # which answers are right
    metrics: tuple[str, ...]  # those shown first, the one that ranks the methods leading
    plain: str  # the metric of them that a sentence can tell


TASKS = {
    "label": TaskWords(
        title="Find more of the same kind",
        question="Each image is a query. The search orders all the other images, the most similar first.",
        right="An answer is right if it carries the same label as the query.",
        metrics=("mAP", "precision@10", "nDCG@10"),
        plain="precision@10",
    ),
    "pairs": TaskWords(
        title="Find the same thing in another rendition",
        question="Each image is a query. The search orders the images of the other renditions, such as "
        "another artist's drawings.",
        right="An answer is right if it shows the very same thing as the query.",
        metrics=("recall@1", "recall@10", "MRR"),
        plain="recall@1",
    ),
    "copies": TaskWords(
        title="Recognise edited copies",
        question="Each query is an edited copy of an image: cropped, shrunk, recompressed, blurred, "
        "recoloured, rotated, mirrored or written over.",
        right="An answer is right if it is the image that the copy was made from.",
        metrics=("µAP", "recall at 90% precision", "recall@1"),
        plain="recall@1",
    ),
    "text": TaskWords(
        title="Find images by words",
        question="Each query is a text. The search orders all the images, the most fitting first.",
        right="An answer is right if the text is one of the image's own captions.",
        metrics=("recall@10", "recall@1", "MRR"),
        plain="recall@10",
    ),
}

# The columns of the table in docs/evaluation.md.
SHORT = {
    ("label", "precision@10"): "same kind: precision@10",
    ("pairs", "recall@1"): "same thing: recall@1",
    ("pairs", "recall@10"): "recall@10",
    ("copies", "recall@1"): "edited copy: recall@1",
    ("copies", "µAP"): "µAP",
    ("text", "recall@10"): "words: recall@10",
}

INDEXES = {
    "exact": "compares the query with every image: nothing is missed, and time grows with the collection",
    "hnsw": "walks a graph of neighbours, as this project's searches do",
    "lsh": "compares short codes of 512 bits first, then the 100 nearest exactly",
}

_METRICS = (
    (
        r"recall@(\d+|k)",
        "of all the right images, the share among the first {}. Where there is only one right image: how "
        "often it is among the first {}",
    ),
    (r"precision@(\d+|k)", "of the first {} answers, the share that is right"),
    (
        r"nDCG@(\d+|k)",
        "like precision among the first {}, but a right answer counts more the higher it stands",
    ),
    (r"mAP", "how well the right images are gathered at the top: 1 if all of them come before any wrong one"),
    (r"MRR", "how far down the first right answer is: 1 if always first, 0.5 if always second"),
    (
        r"µAP",
        "all answers to all queries in one list by similarity: 1 if every copy comes before every "
        "stranger, so that one threshold serves all queries",
    ),
    (
        r"recall at (\d+)% precision",
        "with the lowest threshold at which {}% of what is reported is right: the share of the copies that "
        "is found",
    ),
)


def task(kind: str) -> TaskWords:
    """The words for a kind of task; one that isn't known speaks for itself."""
    plain = TaskWords(
        title=kind, question="", right="", metrics=("recall@1", "recall@10", "mAP"), plain="recall@1"
    )
    return TASKS.get(kind, plain)


def metric(name: str) -> str:
    """A metric's meaning, as a clause without a capital or a full stop."""
    for pattern, meaning in _METRICS:
        if found := re.fullmatch(pattern, name):
            return meaning.replace("{}", found.groups()[0] or "") if found.groups() else meaning
    return "see docs/evaluation.md"


def plainly(name: str, count: str) -> str:
    """The meaning of a share of a plain metric; `count` is the share as `48 of 100`."""
    kind, _, number = name.partition("@")
    if name == "recall@1":
        return f"the first answer is right in {count} searches"
    if kind == "precision":
        return f"of the first {number} answers, {count} are right"
    return f"the first {number} answers hold {count} right images"


def share(value: float) -> str:
    """A share as people say it: `48 of 100`."""
    return f"{value * 100:.0f} of 100"
