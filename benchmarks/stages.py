"""Each stage of ingest alone, on all cores: download, decode, model, store, in images per second."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from benchmarks.fresh_bucket import Bucket
from shared import embedding
from shared.images import DecodedImage
from shared.images.sandbox.pool import start
from shared.indexing import job_runner, queue
from shared.indexing.queue import Job
from shared.supabase import credentials
from shared.supabase.database import Database, http_client
from shared.supabase.storage import Storage, http_session

Item = TypeVar("Item")
Made = TypeVar("Made")

CLAIMED_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Images per second of each stage alone."""

    images: int
    threads: int
    download: float
    decode: float
    model: float
    store: float

    @property
    def in_a_row(self) -> float:
        """The rate of one pipeline of them where every stage alone fills all cores."""
        return 1 / (1 / self.download + 1 / self.decode + 1 / self.model + 1 / self.store)


def measure(bucket: Bucket, threads: int) -> Stages:
    """Embeds every job of `bucket`, stage by stage; each stage finishes before the next one begins."""
    mine = bucket.settings
    url, service = mine.need("supabase_url"), credentials.service(mine)
    name = mine.embedding_models[0]
    embedder = embedding.load(name, configuration=mine)
    with closing(start(mine)) as decoders, http_session(url, threads) as session, http_client() as http:
        storage = Storage(url, service, session)

        def download(job: Job) -> bytes:
            return job_runner.download(storage, job, mine.max_image_bytes)

        def store(work: tuple[Job, bytes, DecodedImage, np.ndarray]) -> str:
            job, data, decoded, vector = work
            content_hash = hashlib.sha256(data).hexdigest()
            made = job_runner.embedded(job, decoded, vector, content_hash)
            return queue.finish(Database(url, service, http), made)

        claimed = _claim_all(Database(url, service, http), name, bucket.name)
        decode = partial(decoders.decode, min_side=embedder.image_size)
        decode(download(claimed[0]))  # so that its process has started
        timed = partial(_timed, threads=threads)
        files, downloads = timed(download, claimed)
        decoded, decodes = timed(decode, files)
        vectors, embeds = timed(lambda one: embedder.embed_images([one.picture])[0], decoded)
        stored, stores = timed(store, list(zip(claimed, files, decoded, vectors, strict=True)))
    assert set(stored) == {"embedded"}, set(stored)
    return Stages(
        images=len(claimed), threads=threads, download=downloads, decode=decodes, model=embeds, store=stores
    )


def _claim_all(database: Database, model: str, bucket: str) -> list[Job]:
    claimed: list[Job] = []
    while batch := queue.claim(database, [model], CLAIMED_AT_ONCE, str(uuid.uuid4())):
        claimed += batch
    strangers = {job.bucket_id for job in claimed} - {bucket}
    assert not strangers, f"The queue isn't empty: it holds jobs of {strangers}. Let a worker drain it first."
    return claimed


def _timed(work: Callable[[Item], Made], items: Sequence[Item], *, threads: int) -> tuple[list[Made], float]:
    """Each item's result, and items per second."""
    with ThreadPoolExecutor(threads) as pool:
        began = time.monotonic()
        made = list(pool.map(work, items))
        return made, len(items) / (time.monotonic() - began)
