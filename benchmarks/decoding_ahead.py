"""Whether decoding ahead keeps a fast model busy: `python -m benchmarks.decoding_ahead`.

The worker, with decoders and a model that only take their time: each decoder the same for each image, the
model as one on a GPU does, a fixed part for each batch and the rest for each image. So it tells of claims,
threads and batches, and not of this machine. Database and Storage are in memory. A figure is
the worker's rate beside the slower of its two parts alone, the decoders and the model with full batches.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.figures import HEAD, Figure, lines, number
from shared.embedding.embedder import Embedder
from shared.embedding.model_config import ImageInput, ModelConfig, Resize
from shared.images import Decode, DecodedImage
from shared.indexing.worker import build_worker, jobs_at_a_time
from shared.runtime import logs
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.settings import Secret
from shared.supabase.credentials import Identity
from shared.supabase.database import Database, http_client
from shared.supabase.storage import Storage
from shared.testing import RpcTransport

DECODERS = 4
DECODING_SECONDS = 0.05  # an image
SECONDS = 4.0  # of each turn, about
ROUNDS = 3
STORING_SECONDS = 0.2  # for which a vector waits for others, as in the worker
TARGET = 0.85
MODELS = {"half as fast as the decoders": 0.5, "as fast": 1.0, "twice as fast": 2.0}
BATCH_SECONDS = 0.01  # that a batch takes for itself, before any image
DIMENSIONS = 512
SERVICE = Identity(apikey=Secret("none"), authorization=Secret("Bearer none"))
CONFIG = ModelConfig(
    model="simulated",
    architecture="none",
    dimensions=DIMENSIONS,
    image=ImageInput(
        resize=Resize.stretch,
        size=(224, 224),
        edge=224,
        resample=Image.Resampling.BICUBIC,
        mean=(0,) * 3,
        std=(1,) * 3,
        pooling="none",
    ),
    text=None,
)


@dataclass(kw_only=True)
class Engine:
    """Takes as long as a model with `rate` images a second in full batches, and computes nothing."""

    rate: float
    name = "simulated"
    device = "cuda"
    precision = "bf16"
    batch_size = 64
    joins_calls = True

    def images(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        count = len(inputs[0])
        of_image = 1 / self.rate - BATCH_SECONDS / self.batch_size
        time.sleep(BATCH_SECONDS + count * of_image)
        return np.full((count, DIMENSIONS), DIMENSIONS**-0.5, np.float32)

    def texts(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        raise NotImplementedError


class Files:
    """Storage: a name's own bytes, or a vector would be taken over."""

    def download(self, _bucket: str, name: str, **_options: Any) -> bytes:
        return name.encode()


class Decoders:
    """So many images at a time."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(DECODERS)

    def decode(self, data: bytes, *, min_side: int | None) -> DecodedImage:
        with self._free:
            time.sleep(DECODING_SECONDS)
        return DecodedImage(picture=Image.new("RGB", (224, 224)), width=1, height=1, mime_type="image/png")


def claims(count: int) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """The database's answers to claims, until `count` jobs were handed out."""
    rows: Iterator[dict[str, Any]] = (
        {
            "object_id": str(number),
            "model": CONFIG.model,
            "version": "1",
            "bucket_id": "images",
            "name": str(number),
            "size": None,
            "mime_type": "image/jpeg",
            "etag": None,
            "attempt": 1,
            "waited_seconds": 0.0,
            "lease_id": str(number),
            "known_hashes": [],
        }
        for number in range(count)
    )
    return lambda given: list(itertools.islice(rows, given["max_jobs"]))


def decoding_rate(decode: Decode) -> float:
    """Images per second of the decoders alone."""
    began, count = time.monotonic(), round(SECONDS * DECODERS / DECODING_SECONDS)
    with ThreadPoolExecutor(2 * DECODERS) as threads:
        list(threads.map(partial(decode, min_side=None), [b"file"] * count))
    return count / (time.monotonic() - began)


def worker_rate(decode: Decode, rate: float, count: int) -> float:
    """Images per second from a claim to a stored vector, while `count` are stored.

    Filling and emptying the pipeline isn't counted: a worker has thousands of images.
    """
    embedder = Embedder(CONFIG, Engine(rate=rate), None, max_image_bytes=1, max_image_pixels=1)
    models = ModelRegistry([CONFIG.model], lambda _name: embedder)
    models.proven(CONFIG.model)
    concurrency = jobs_at_a_time(joined=embedder.joined, decoders=DECODERS)
    jobs = claims(count + 2 * concurrency)
    transport = RpcTransport(
        claim_embedding_jobs=jobs,
        finish_embedding_job="embedded",
        finish_embedding_jobs=lambda given: ["embedded"] * len(given["object_ids"]),
    )
    http = http_client(transport)
    worker = build_worker(
        database=lambda: Database("http://supabase.test", SERVICE, http),
        storage=cast(Storage, Files()),
        models=models,
        decode=decode,
        metrics=Metrics(),
        max_bytes=10**9,
        concurrency=concurrency,
        patience=STORING_SECONDS,
    )
    stored: list[float] = []
    worker.run(lambda _result: stored.append(time.monotonic()))
    return count / (stored[concurrency + count - 1] - stored[concurrency - 1])


def measure() -> Iterator[Figure]:
    """One figure for each of MODELS."""
    for name, times in MODELS.items():
        rounds = [_round(times) for _ in range(ROUNDS)]
        ratio, rate, alone = (median(values) for values in zip(*rounds, strict=True))
        yield Figure(
            row="decoding ahead",
            what=f"worker with a model {name} ÷ the slower of decoders and model alone",
            value=ratio,
            unit="x",
            target=TARGET,
            note=f"{number(rate, 'images/s')}; decoders {number(alone, 'images/s')}, "
            f"model {number(times * alone, 'images/s')}",
        )


def _round(times: float) -> tuple[float, float, float]:
    """The worker's share of the slower part's rate, its own rate, and that of the decoders alone."""
    decode = Decoders().decode
    alone = decoding_rate(decode)
    slower = min(1, times) * alone
    rate = worker_rate(decode, times * alone, round(slower * SECONDS))
    return rate / slower, rate, alone


if __name__ == "__main__":
    print(*HEAD, sep="\n")
    with logs.silenced():
        for figure in measure():
            print(*lines([figure]), flush=True)
