"""A model's image side in 8 bits: tried in several ways, and good only where it finds as much as float32."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.collection import Item
from evaluation.sources import emoji
from shared.embedding import artifacts, preprocessing
from shared.embedding.artifacts import Artifact
from shared.embedding.engines.openvino_compilation import native_precision
from shared.embedding.engines.openvino_streams import Streams
from shared.embedding.model_config import ImageInput
from shared.images import Decode

LEAST_COSINE = 0.99  # to float32's vectors, on average
MOST_RECALL_LOST = 0.01  # of float32's
DEPTH = 10
CALIBRATING_DRAWINGS = 8  # one of so many of the public set's `dev`; of the photographs it is every second
BATCH, ROUNDS = 8, 12

Inputs = Sequence[NDArray[Any]]  # a tower's, each with the pictures along its first axis
Vectors = NDArray[np.float32]
Progress = Callable[[str, int, int], None]  # the step's name, how many are done, of how many


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """As the image side takes them. No measured picture was calibrated on."""

    calibration: Inputs
    photographs: Inputs
    drawings: Inputs  # of both vendors, those of `dev` too: among all of them is searched
    groups: NDArray[Any]  # of the drawings
    vendors: NDArray[Any]
    queries: NDArray[np.bool_]  # the drawings of `test`


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to compute the image side, and its worth."""

    name: str
    graph: Path
    quantised: bool
    cosine: float  # to float32's vectors: the mean, photographs' or drawings', whichever is less
    least_cosine: float
    recall: float  # how often a drawing finds the other vendor's among the first ten
    one: float  # times as fast as the served precision without 8 bits: one image
    batch: float  # and 8 of them

    def refusal(self, exact: Trial) -> str | None:
        """Why this isn't good enough beside float32; None where it is."""
        if not self.cosine >= LEAST_COSINE:  # NaN is no cosine either
            return f"mean cosine {self.cosine:.4f}, at least {LEAST_COSINE} is expected"
        if not self.recall > (least := (1 - MOST_RECALL_LOST) * exact.recall):
            return f"recall@{DEPTH} {self.recall:.4f}, more than {least:.4f} is expected"
        return None


def pictures(
    how: ImageInput, photographs: Sequence[Item], drawings: Sequence[Item], decode: Decode, show: Progress
) -> Pictures:
    """Decodes the collections' files and parts them."""
    photos = _inputs("photographs", photographs, how, decode, show)
    drawn = _inputs("drawings", drawings, how, decode, show)
    queries = np.array([emoji.split_of(item.group or "") == "test" for item in drawings])
    tuning = np.flatnonzero(~queries)[::CALIBRATING_DRAWINGS]
    return Pictures(
        calibration=[
            np.concatenate([photo[::2], drawing[tuning]])
            for photo, drawing in zip(photos, drawn, strict=True)
        ],
        photographs=[array[1::2] for array in photos],
        drawings=drawn,
        groups=np.array([item.group for item in drawings]),
        vendors=np.array([item.rendition for item in drawings]),
        queries=queries,
    )


def trials(artifact: Artifact, shown: Pictures, folder: Path, show: Progress) -> Iterator[Trial]:
    """Float32, the served precision without 8 bits, and the ways of 8 bits, each made in `folder` in turn."""
    from shared.embedding.conversion import eight_bits  # NNCF and torch: seconds

    graph = artifact.folder / artifacts.IMAGE_GRAPH
    native = native_precision()
    reference, served = Streams(graph, "f32", 1), Streams(graph, native, 1)
    exact = _vectors(reference, shown)
    schemes = eight_bits.schemes(graph)
    ways = len(schemes) + 2
    show("float32", 0, ways)
    measured = partial(_trial, served=served, exact=exact, shown=shown)
    yield measured("float32", graph, reference, exact, quantised=False)
    if native != "f32":
        show(native, 1, ways)
        yield measured(f"{native}, as it is served", graph, served, _vectors(served, shown), quantised=False)
    for number, scheme in enumerate(schemes):
        show(scheme.name, number + 2, ways)
        made = folder / str(number) / artifacts.IMAGE_GRAPH
        made.parent.mkdir()
        eight_bits.quantise(graph, scheme, shown.calibration, made)
        tried = Streams(made, native, 1)
        yield measured(scheme.name, made, tried, _vectors(tried, shown), quantised=True)


def _inputs(what: str, items: Sequence[Item], how: ImageInput, decode: Decode, show: Progress) -> Inputs:
    batches = []
    for done, item in enumerate(items):
        show(what, done, len(items))
        batches.append(preprocessing.batch([decode(item.read(), min_side=how.side).picture], how))
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _trial(
    name: str,
    graph: Path,
    streams: Streams,
    own: tuple[Vectors, ...],
    *,
    quantised: bool,
    served: Streams,
    exact: tuple[Vectors, ...],
    shown: Pictures,
) -> Trial:
    cosines = [
        np.einsum("nd,nd->n", vectors, others)[kept]
        for vectors, others, kept in zip(own, exact, (slice(None), shown.queries), strict=True)
    ]
    return Trial(
        name=name,
        graph=graph,
        quantised=quantised,
        cosine=float(min(found.mean() for found in cosines)),
        least_cosine=float(min(found.min() for found in cosines)),
        recall=recall(own[1], shown),
        one=_speed(streams, served, [array[:1] for array in shown.photographs]),
        batch=_speed(streams, served, [array[:BATCH] for array in shown.photographs]),
    )


def _vectors(streams: Streams, shown: Pictures) -> tuple[Vectors, Vectors]:
    """Of the photographs and the drawings, rows of unit length."""
    found = [
        np.concatenate(
            [
                streams.run([array[start : start + BATCH] for array in inputs])
                for start in range(0, len(inputs[0]), BATCH)
            ]
        )
        for inputs in (shown.photographs, shown.drawings)
    ]
    photographs, drawings = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in found)
    return photographs, drawings


def recall(vectors: Vectors, shown: Pictures) -> float:
    """How often a drawing of `test` finds the other vendor's among the first ten of that vendor's."""
    similarities = np.where(shown.vendors[:, None] == shown.vendors, -np.inf, vectors @ vectors.T)
    first = np.argsort(-similarities[shown.queries], axis=1, kind="stable")[:, :DEPTH]
    return float((shown.groups[first] == shown.groups[shown.queries, None]).any(axis=1).mean())


def _speed(streams: Streams, served: Streams, inputs: Inputs) -> float:
    """The median of rounds in which both take turns."""
    ratios = []
    for number in range(ROUNDS):
        turns = (streams, served) if number % 2 else (served, streams)
        seconds = {turn: _seconds(turn, inputs) for turn in turns}
        ratios.append(seconds[served] / seconds[streams])
    return float(np.median(ratios))


def _seconds(streams: Streams, inputs: Inputs) -> float:
    streams.run(inputs)
    started = time.perf_counter()
    for _ in range(2 * BATCH // len(inputs[0])):
        streams.run(inputs)
    return time.perf_counter() - started
