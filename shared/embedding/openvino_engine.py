"""The CPU engine: a converted model in OpenVINO. Imports neither torch nor transformers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.embedding.artifacts import Artifact
from shared.embedding.compilation import compiled_graph, native_precision

# How many inputs a tower runs at once, each on its share of the cores. Two callers on a core each don't wait
# for each other's threads: 4 callers with 512-pixel JPEGs had 153 images/s with two streams and 109 with one
# (efficientnet-lite0, 2 cores); a caller alone has 89 instead of 101. A query's text comes alone.
STREAMS = {"image": 2, "text": 1}


class OpenVinoEngine:
    """Runs a converted model's towers; safe to call from several threads."""

    name = "openvino"
    device = "cpu"
    # On 2 cores, 2 to 8 callers with one image each, joined, had 0.93 to 1.01 of what they had alone
    # (efficientnet-lite0), and each size of a batch costs 0.1 to 0.3 s when it first comes.
    joins_calls = False
    batch_size = 8  # the fastest of 1 to 32 on two cores, and the activations of larger ones only take memory

    def __init__(self, artifact: Artifact, precision: str | None = None):
        self.precision = precision or native_precision()
        self._towers = {name: Tower(artifact, name, self.precision, count) for name, count in STREAMS.items()}

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
    """One graph, loaded when it is first used: who only embeds images never holds the text side."""

    def __init__(self, artifact: Artifact, name: str, precision: str, streams: int):
        self._streams = min(streams, os.cpu_count() or 1)
        self._graph = artifact.folder / f"{name}.xml"
        self._config = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": self._streams,
            # OpenVINO would choose so by itself; said here because the vectors depend on it. bfloat16, where
            # the processor has it, doubles the speed and moves vectors by at most 0.005 in cosine.
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_MMAP": True,
        }
        self._lock = Lock()
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._loaded = False

    @property
    def exists(self) -> bool:
        return self._graph.exists()

    def load(self) -> None:
        with self._lock:
            if not self._loaded:
                compiled = compiled_graph(self._graph, self._config)
                for _ in range(self._streams):
                    self._idle.put(compiled.create_infer_request())
                self._loaded = True

    def run(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """The vectors; several inputs are shared out among the streams, as far as these are free."""
        self.load()
        count = min(self._streams, len(inputs[0]))
        shares = zip(*(np.array_split(array, count) for array in inputs), strict=True)
        running: deque[Any] = deque()
        done = []
        try:
            for share in shares:
                # Whoever has a request never waits for another one, or two callers could wait for each other.
                request = self._free_request(wait=not running)
                if request is None:
                    done.append(_vectors(running[0]))
                    request = running.popleft()
                running.append(request)
                request.start_async(dict(enumerate(share)), share_inputs=True)
            done += [_vectors(request) for request in running]
        finally:
            for request in running:
                self._give_back(request)
        return np.concatenate(done)

    def _free_request(self, wait: bool) -> Any:
        try:
            return self._idle.get(block=wait)
        except Empty:
            return None

    def _give_back(self, request: Any) -> None:
        with suppress(RuntimeError):  # its caller has been told; it must be done before another takes it
            request.wait()
        self._idle.put(request)


def _vectors(request: Any) -> NDArray[np.float32]:
    """What it puts out, copied: the next run overwrites it."""
    request.wait()
    return np.array(request.get_output_tensor(0).data, dtype=np.float32)
