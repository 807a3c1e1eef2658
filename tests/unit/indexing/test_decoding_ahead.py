"""Decoding goes on while a model computes that takes many images at once: full batches, bounded memory."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.waiting import PATIENCE, eventually

from shared.embedding.embedder import Embedder
from shared.embedding.model_config import ImageInput, ModelConfig, Resize
from shared.errors import BrokenImage
from shared.images import DecodedImage
from shared.indexing import worker_pool
from shared.indexing.job_runner import Result
from shared.indexing.worker import build_worker, jobs_at_a_time
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.settings import Secret
from shared.supabase import credentials
from shared.supabase.database import Database, http_client
from shared.testing import RpcTransport

SERVICE = credentials.Identity(apikey=Secret("secret"), authorization=Secret("Bearer secret"))
JOINED, CONCURRENCY = 8, 16
CONFIG = ModelConfig(
    model="slow",
    architecture="none",
    dimensions=4,
    image=ImageInput(
        resize=Resize.stretch, size=(8, 8), edge=8, resample=2, mean=(0,) * 3, std=(1,) * 3, pooling="none"
    ),
    text=None,
)


class Engine:
    """A model that computes one batch at a time, each as long as the test holds it."""

    name, device, precision, batch_size, joins_calls = "simulated", "cuda", "bf16", JOINED, True

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.begun, self.may_end = threading.Semaphore(0), threading.Semaphore(0)
        self.embedder = Embedder(CONFIG, self, None, max_image_bytes=100, max_image_pixels=100)

    def images(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        self.batches.append(len(inputs[0]))
        self.begun.release()
        assert self.may_end.acquire(timeout=PATIENCE)
        return np.tile(np.array([1, 0, 0, 0], np.float32), (len(inputs[0]), 1))

    def texts(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        raise NotImplementedError


class Project:
    """Due jobs, in the place of database and Storage, and their outcomes."""

    def __init__(self, jobs: int, broken: Sequence[int] = ()):
        self.due = [str(uuid.UUID(int=number)) for number in range(1, jobs + 1)]
        self.broken = {self.due[number] for number in broken}
        self.embedded: list[str] = []
        self.skipped: list[str] = []
        self.given_back: list[str] = []
        self.decoded = 0
        self._changed = threading.Condition()
        self.transport = RpcTransport(
            claim_embedding_jobs=self._claim,
            finish_embedding_job=lambda given: (self.embedded.append(given["object_id"]), "embedded")[1],
            finish_embedding_jobs=self._finish_all,
            fail_embedding_job=lambda given: (self.skipped.append(given["object_id"]), "skipped")[1],
            release_embedding_jobs=lambda given: (self.given_back.extend(given["lease_ids"]), 1)[1],
        )

    def _claim(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        taken, self.due = self.due[: given["max_jobs"]], self.due[given["max_jobs"] :]
        about = {"model": "slow", "version": "1", "bucket_id": "b", "size": None, "etag": None, "attempt": 1}
        more = {"mime_type": None, "waited_seconds": 0.0, "known_hashes": []}
        return [about | more | {"object_id": one, "name": one, "lease_id": one} for one in taken]

    def _finish_all(self, given: dict[str, Any]) -> list[str]:
        self.embedded += given["object_ids"]
        return ["embedded"] * len(given["object_ids"])

    def download(self, _bucket: str, name: str, **_options: Any) -> bytes:
        return name.encode()

    def decode(self, data: bytes, *, min_side: int | None) -> DecodedImage:
        with self._changed:
            self.decoded += 1
            self._changed.notify_all()
        if data.decode() in self.broken:
            raise BrokenImage()
        return DecodedImage(picture=Image.new("RGB", (8, 8)), width=8, height=8, mime_type="image/png")

    def await_decoded(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.decoded >= count, PATIENCE)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.may_end.release(1000)  # no test leaves a thread behind that waits


def started(
    project: Project, engine: Engine, concurrency: int = CONCURRENCY
) -> tuple[threading.Thread, threading.Event, list[Result]]:
    """A worker on the project, whose model has passed its self-test and holds its first batch of it."""
    embedder = engine.embedder
    models = ModelRegistry(["slow"], lambda _name: embedder)
    engine.may_end.release()
    models.proven("slow")
    assert engine.begun.acquire(timeout=PATIENCE) and engine.batches.pop() == 1
    http, results, stop = http_client(project.transport), list[Result](), threading.Event()
    worker = build_worker(
        database=lambda: Database("http://supabase.test", SERVICE, http),
        storage=project,  # type: ignore[arg-type]
        models=models,
        decode=project.decode,
        metrics=Metrics(),
        max_bytes=100,
        concurrency=concurrency,
    )
    thread = threading.Thread(target=worker.run, args=(results.append,), kwargs={"stop": stop})
    thread.start()
    assert engine.begun.acquire(timeout=PATIENCE)
    return thread, stop, results


def await_waiting(engine: Engine, count: int) -> None:
    """Until so many pictures wait for the model."""
    batcher = engine.embedder._images
    eventually(lambda: len(batcher._waiting) == count)  # type: ignore[attr-defined]


def end(thread: threading.Thread, engine: Engine) -> None:
    engine.may_end.release(1000)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_while_a_batch_is_computed_the_next_one_is_filled(engine: Engine) -> None:
    project = Project(60)
    thread, _stop, results = started(project, engine)
    project.await_decoded(CONCURRENCY)  # though the model holds its batch
    first = engine.batches[0]
    await_waiting(engine, CONCURRENCY - first)
    engine.may_end.release()
    assert engine.begun.acquire(timeout=PATIENCE)  # nothing else has to happen first
    assert first < CONCURRENCY and engine.batches[1] == min(JOINED, CONCURRENCY - first)
    end(thread, engine)
    assert len(results) == len(project.embedded) == 60 and max(engine.batches) == JOINED


def test_no_more_is_decoded_ahead_than_asked(engine: Engine) -> None:
    project = Project(200)
    thread, _stop, _results = started(project, engine)
    project.await_decoded(CONCURRENCY)
    threading.Event().wait(0.2)  # all threads wait for the model: nobody is left who could decode more
    assert project.decoded == CONCURRENCY
    end(thread, engine)
    assert project.decoded == len(project.embedded) == 200


def test_files_that_cannot_be_decoded_stop_no_others(engine: Engine) -> None:
    project = Project(60, broken=range(0, 60, 3))
    thread, _stop, results = started(project, engine)
    project.await_decoded(CONCURRENCY)
    end(thread, engine)
    assert set(project.skipped) == project.broken and len(project.embedded) == 40
    assert len(results) == 60 and project.given_back == []


def test_told_to_stop_it_gives_back_all_that_has_not_begun(engine: Engine) -> None:
    project = Project(200)
    thread, stop, results = started(project, engine)
    project.await_decoded(CONCURRENCY)
    stop.set()
    end(thread, engine)
    assert len(results) == len(project.embedded) == CONCURRENCY
    claimed = 200 - len(project.due)
    assert len(project.given_back) == len(set(project.given_back)) == claimed - CONCURRENCY > 0
    assert not {*project.given_back} & {*project.embedded}


@pytest.mark.parametrize(
    ("joined", "decoders", "jobs"),
    [
        (1, 2, 24),  # a model on the CPU, which takes single images
        (1, 64, 24),
        (64, 16, 144),  # a GPU: two batches, and vectors that wait to be stored
        (64, 4, 48),  # with few cores for decoding: they set the pace
        (64, 64, 144),
    ],
)
def test_as_many_at_a_time_as_fill_two_batches_and_the_decoders_can_keep_up_with(
    joined: int, decoders: int, jobs: int
) -> None:
    assert jobs_at_a_time(joined=joined, decoders=decoders) == jobs


def test_no_more_is_claimed_than_can_begin_while_its_leases_last(engine: Engine) -> None:
    project = Project(1000)
    thread, stop, _results = started(project, engine, concurrency=128)
    project.await_decoded(128)
    stop.set()
    end(thread, engine)
    assert 128 < 1000 - len(project.due) <= 128 + worker_pool.MOST_AHEAD
