"""The CPU engine's streams: batches are shared out, and no caller waits for another forever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from shared import embedding, settings
from shared.embedding import Embedder


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    environment = settings.child_environment({"EMBEDDING_ENGINE": "openvino", "EMBEDDING_DEVICE": "cpu"})
    return embedding.load("efficientnet-lite0", configuration=settings.load(environment))


PIXELS = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)


def test_callers_with_batches_of_any_size_get_their_own_vectors_in_order(embedder: Embedder):
    alone = np.concatenate([embedder.engine.images([PIXELS[i : i + 1]]) for i in range(8)])
    sizes = [1, 2, 3, 5, 8] * 6
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda size: embedder.engine.images([PIXELS[:size]]), sizes))
    assert [len(vectors) for vectors in found] == sizes
    for vectors in found:
        assert ((vectors * alone[: len(vectors)]).sum(axis=1) > 0.9999).all()


def test_an_input_that_a_stream_refuses_leaves_all_streams_usable(embedder: Embedder):
    for _ in range(3):
        with pytest.raises(RuntimeError):
            embedder.engine.images([np.zeros((4, 224, 224, 1), np.uint8)])
    assert embedder.engine.images([PIXELS]).shape == (8, 1280)
