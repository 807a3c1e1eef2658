"""The CPU engine: a converted model in OpenVINO. Imports neither torch nor transformers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.embedding import artifacts
from shared.embedding.artifacts import Artifact
from shared.embedding.engines.in_flight import InFlight
from shared.embedding.engines.openvino_compilation import native_precision
from shared.embedding.engines.openvino_streams import Streams

# How many shares the cores are divided into for batches and concurrent callers. A query's text comes alone.
STREAMS = {"image": 2, "text": 1}
# A text of so many tokens takes one core: on two, both wait for each other at each layer, and longer while
# others use them. A search took 13.4 ms of CPU so, 11.4 on one; on quiet cores a text takes 2.4 and 3.3 ms.
BRIEF_TOKENS, BRIEF_STREAMS = 32, 2


class OpenVinoEngine:
    """Runs a converted model's towers; safe to call from several threads."""

    name = "openvino"
    device = "cpu"
    # On 2 cores, 2 to 8 callers with one image each, joined, had 0.93 to 1.01 of their speed alone
    # (efficientnet-lite0), and each size of a batch costs 0.1 to 0.3 s when it first comes.
    joins_calls = False
    batch_size = 8  # the fastest of 1 to 32 on two cores, and the activations of larger ones only take memory

    def __init__(self, artifact: Artifact, precision: str | None = None, native: str | None = None):
        """With `precision` int8, `native` is that of the layers not in 8 bits: the processor's by default."""
        native = native or native_precision()
        self.precision = precision or native
        self._towers = {name: _tower(artifact, name, self.precision, native) for name in STREAMS}

    def compile(self) -> None:
        """Load all towers now, which also leaves them compiled on disk."""
        for tower in self._towers.values():
            if tower.exists:
                tower.load()

    def images(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return self._towers["image"].run(inputs)

    def texts(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return self._towers["text"].run(inputs)


class Tower:
    """One graph, loaded when first used: a process that only embeds images never holds the text side.

    One input of a caller who is alone gets all cores, and batches and concurrent callers a share of the cores
    for each input. Both ways are loaded when they are first needed.
    """

    def __init__(self, graph: Path, precision: str, streams: int):
        self._graph = graph
        self._whole = Streams(graph, precision, 1)
        count = min(streams, _cores())
        self._shared = Streams(graph, precision, count) if count > 1 else self._whole
        self._in_flight = InFlight()

    @property
    def exists(self) -> bool:
        return self._graph.exists()

    def load(self) -> None:
        self._whole.load()
        self._shared.load()

    def run(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        with self._in_flight.entered() as alone:
            streams = self._whole if alone and len(inputs[0]) == 1 else self._shared
            return streams.run(inputs)


class TextTower(Tower):
    """A text side: brief texts take one core each."""

    def __init__(self, graph: Path, precision: str, streams: int):
        super().__init__(graph, precision, streams)
        count = min(BRIEF_STREAMS, _cores())
        self._brief = Streams(graph, precision, count, threads=count)

    def load(self) -> None:
        super().load()
        self._brief.load()

    def run(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return self._brief.run(inputs) if inputs[0].size <= BRIEF_TOKENS else super().run(inputs)


def _tower(artifact: Artifact, name: str, precision: str, native: str) -> Tower:
    if name == "text":  # it stays as it is, and so do the layers of the image side that 8 bits would spoil
        return TextTower(
            artifact.folder / "text.xml", native if precision == "int8" else precision, STREAMS[name]
        )
    if precision == "int8":
        return Tower(artifacts.need_quantised(artifact), native, STREAMS[name])
    return Tower(artifact.folder / "image.xml", precision, STREAMS[name])


def _cores() -> int:
    """Those that this process may run on, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
