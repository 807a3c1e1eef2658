"""`neural-search worker`: embeds the images that are due, without any webhook."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.app import one_line
from cli.console import output
from cli.console.output import AsJson
from cli.console.worker_progress import WorkerProgress
from shared import settings
from shared.errors import DatabaseUnavailable, ModelBroken, NeuralSearchError, StorageUnavailable
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.indexing.worker import Worker

BATCH_SECONDS = 0.2  # for which a vector waits for others: nobody looks for a single image here
LONGEST_PAUSE = 30.0  # seconds, after faults in a row
PATIENCE = 6  # faults in a row after which --once gives up: about a minute


def register(app: typer.Typer) -> None:
    app.command()(worker)


def worker(
    once: Annotated[bool, typer.Option("--once", help="End when nothing is due.")] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Images at a time.", show_default="24; on a GPU two batches"),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Work for this model only (repeatable; EMBEDDING_MODELS).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Embed the images that are due from this machine, without any webhook, until Ctrl-C or SIGTERM.

    It needs SUPABASE_URL and SUPABASE_SECRET_KEY. Any number of workers may run, beside the function or
    instead of it. Told to stop, it gives back the jobs that it hasn't begun.
    """
    mine = settings.load()
    names = tuple(model or mine.embedding_models)
    progress = WorkerProgress()
    with _stopping_on_signals() as stop, _opened(mine, names, concurrency, progress) as worker:
        output.warn(
            f"Working for {mine.supabase_url} with {', '.join(names)}, "
            f"{worker.concurrency} images at a time. "
            + ("It ends when nothing is due." if once else "Ctrl-C ends it.")
        )
        progress.begin()
        _work(worker, progress, stop, once=once)
    if as_json:
        output.print_json(progress.as_json())
    else:
        output.say(f"Ended: {progress}.")


def _work(worker: Worker, progress: WorkerProgress, stop: threading.Event, *, once: bool) -> None:
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
            output.warn(f"{_line(fault)} Trying again in {output.seconds(pause)}.")
            stop.wait(pause)


def _line(fault: Exception) -> str:
    text = " ".join(str(fault).split()) if isinstance(fault, NeuralSearchError) else one_line(fault)
    return text if text.endswith(".") else f"{text}."


@contextmanager
def _opened(
    mine: Settings, names: tuple[str, ...], concurrency: int | None, progress: WorkerProgress
) -> Iterator[Worker]:
    """The drain, with its models loaded: a wrong name is told before anything is claimed."""
    # They take seconds to import, which `--help` does without.
    import requests
    from requests.adapters import HTTPAdapter

    from shared import embedding
    from shared.images.sandbox import pool
    from shared.indexing.worker import build_worker, jobs_at_a_time
    from shared.runtime import logs, malloc
    from shared.runtime.metrics import Metrics
    from shared.runtime.model_registry import ModelRegistry
    from shared.supabase import credentials
    from shared.supabase.database import Database, http_client
    from shared.supabase.storage import Storage

    url, service = mine.need("supabase_url"), credentials.service(mine)
    malloc.give_back_what_is_freed()
    loaded = {name: embedding.load(name, configuration=mine) for name in names}
    joined = max(embedder.joined for embedder in loaded.values())
    concurrency = concurrency or jobs_at_a_time(joined=joined, decoders=os.cpu_count() or 1)
    with (
        logs.silenced(),  # each result is told by the tally
        closing(pool.start(mine, most=concurrency)) as decoding,
        requests.Session() as session,
        http_client() as http,
    ):
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=concurrency))
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


@contextmanager
def _stopping_on_signals() -> Iterator[threading.Event]:
    """Set by the first SIGINT or SIGTERM; a second one ends the process where it is."""
    stop = threading.Event()
    # A handler may interrupt its own thread within `stop.wait`, which holds the lock that `stop.set` takes.
    # This queue's `put` is made for that: it is documented to be reentrant.
    told: SimpleQueue[bool] = SimpleQueue()

    def handle(_number: int, _frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        told.put(True)

    def pass_on() -> None:
        if told.get():
            stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    threading.Thread(target=pass_on, name="signals", daemon=True).start()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        told.put(False)
