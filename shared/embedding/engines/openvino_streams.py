"""A graph compiled for a number of streams, each of which runs inputs on its share of the cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.embedding.engines.openvino_compilation import compiled_graph


class Streams:
    """Runs batches, shared out among the streams that are free; safe to call from several threads."""

    def __init__(self, graph: Path, precision: str, count: int, threads: int | None = None):
        """With `threads` no more than these, instead of one for each core."""
        self._graph = graph
        self._count = count
        self._config = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": count,
            # OpenVINO would choose so by itself; said here because the vectors depend on it. bfloat16, where
            # the processor has it, doubles the speed and moves vectors by at most 0.005 in cosine.
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_MMAP": True,
        } | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
        self._loading = Lock()
        self._loaded = False
        self._idle: SimpleQueue[Any] = SimpleQueue()  # requests, as many as streams: more would only queue up

    def load(self) -> None:
        """Compile the graph, or take it from the disk. ModelBroken where OpenVINO can't read it."""
        with self._loading:
            if not self._loaded:
                compiled = compiled_graph(self._graph, self._config)
                for _ in range(self._count):
                    self._idle.put(compiled.create_infer_request())
                self._loaded = True

    def run(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """The vectors of a batch. RuntimeError for inputs that the graph doesn't take."""
        self.load()
        count = min(self._count, len(inputs[0]))
        shares = zip(*(np.array_split(array, count) for array in inputs), strict=True)
        running: deque[Any] = deque()
        done = []
        try:
            for share in shares:
                # A caller with a request never waits for another one, or two could wait for each other.
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
    """The request's output, copied: the next run overwrites it."""
    request.wait()
    return np.array(request.get_output_tensor(0).data, dtype=np.float32)
