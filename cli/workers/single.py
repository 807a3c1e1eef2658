"""One worker in this process: opened with its models, and run through faults of its surroundings."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from cli.app import one_line
from cli.console import output
from cli.console.worker_progress import WorkerProgress
from shared.errors import DatabaseUnavailable, ModelBroken, NeuralSearchError, StorageUnavailable
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.indexing.worker import Worker

BATCH_SECONDS = 0.2  # for which a vector waits for others: nobody looks for a single image here
LONGEST_PAUSE = 30.0  # seconds, after faults in a row
PATIENCE = 6  # faults in a row after which --once gives up: about a minute


def work(
    worker: Worker,
    progress: WorkerProgress,
    stop: threading.Event,
    *,
    once: bool,
    tell: Callable[[str], None] = output.warn,
) -> None:
    """Runs the drain again and again; a fault of the surroundings is one line and a pause."""
    faults = 0
    while not stop.is_set():
        before = progress.total
        try:
            worker.run(progress.add, forever=not once, stop=stop)
            return
        except Exception as fault:
            passing = isinstance(fault, DatabaseUnavailable | StorageUnavailable) or (
                worker.reached and not isinstance(fault, ModelBroken)
            )
            faults = 1 if progress.total > before else faults + 1
            if not passing or (once and faults > PATIENCE):
                raise  # a wrong key or a model that broke won't come right by itself
            pause = min(2.0 ** (faults - 1), LONGEST_PAUSE) * random.uniform(1, 1.5)
            tell(f"{line(fault)} Trying again in {output.seconds(pause)}.")
            stop.wait(pause)


def line(fault: Exception) -> str:
    """The fault in one line."""
    text = " ".join(str(fault).split()) if isinstance(fault, NeuralSearchError) else one_line(fault)
    return text if text.endswith(".") else f"{text}."


@contextmanager
def opened(
    mine: Settings, names: tuple[str, ...], concurrency: int | None, progress: WorkerProgress
) -> Iterator[Worker]:
    """The drain, with its models loaded: a wrong name is told before anything is claimed."""
    # They take seconds to import, which `--help` does without.
    from shared import embedding
    from shared.images.sandbox import pool
    from shared.indexing.worker import build_worker, jobs_at_a_time
    from shared.runtime import logs, malloc
    from shared.runtime.metrics import Metrics
    from shared.runtime.model_registry import ModelRegistry
    from shared.supabase import credentials
    from shared.supabase.database import Database, http_client
    from shared.supabase.storage import Storage, http_session

    url, service = mine.need("supabase_url"), credentials.service(mine)
    malloc.give_back_what_is_freed()
    loaded = {name: embedding.load(name, configuration=mine) for name in names}
    joined = max(embedder.joined for embedder in loaded.values())
    concurrency = concurrency or jobs_at_a_time(joined=joined, decoders=os.cpu_count() or 1)
    with (
        logs.silenced(),  # each result is told by the tally
        closing(pool.start(mine, most=concurrency)) as decoding,
        http_session(url, connections=concurrency) as session,
        http_client() as http,
    ):
        yield build_worker(
            database=lambda: Database(url, service, http),
            storage=Storage(url, service, session),
            models=ModelRegistry(names, loaded.__getitem__),
            decode=decoding.decode,
            metrics=Metrics(),
            max_bytes=mine.max_image_bytes,
            concurrency=concurrency,
            patience=BATCH_SECONDS,
            on_given_back=progress.add_given_back,
        )
