"""The CPU engine: a converted model in OpenVINO. Imports neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.embedding.artifacts import Artifact
from shared.embedding.compilation import compiled_graph, native_precision


class OpenVinoEngine:
    """Runs a converted model's towers; safe to call from several threads."""

    name = "openvino"
    device = "cpu"
    # A batch of 8 has 304 images/s, and two callers with one image each reach 289 already, since the copying
    # of one overlaps with the other's run (efficientnet-lite0, 2 cores). Joined, 2 to 8 callers had 0.93 to
    # 1.01 of what they had alone, and each size of a batch costs 0.1 to 0.3 s when it first comes.
    joins_calls = False
    batch_size = 8  # the fastest of 1 to 32 on two cores, and the activations of larger ones only take memory

    def __init__(self, artifact: Artifact, precision: str | None = None):
        self.precision = precision or native_precision()
        self._towers = {name: Tower(artifact, name, self.precision) for name in ("image", "text")}

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

    def __init__(self, artifact: Artifact, name: str, precision: str):
        self._graph = artifact.folder / f"{name}.xml"
        self._config = {
            # One stream over all cores: the fastest for one image, and batches lose nothing by it.
            "PERFORMANCE_HINT": "LATENCY",
            # OpenVINO would choose so by itself; said here because the vectors depend on it. bfloat16, where
            # the processor has it, doubles the speed and moves vectors by at most 0.005 in cosine.
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_MMAP": True,
        }
        self._lock = Lock()
        self._request: Any = None

    @property
    def exists(self) -> bool:
        return self._graph.exists()

    def load(self) -> Any:
        if self._request is None:
            self._request = compiled_graph(self._graph, self._config).create_infer_request()
        return self._request

    def run(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        # One request behind a lock: a single stream runs one at a time anyway, and what it returns is its own
        # memory, which the next run overwrites.
        with self._lock:
            outputs = self.load().infer(dict(enumerate(inputs)), share_inputs=True, share_outputs=True)
            return np.array(outputs[0], dtype=np.float32)
