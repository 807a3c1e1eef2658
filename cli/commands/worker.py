"""`neural-search worker`: embeds the images that are due, without any webhook."""

from __future__ import annotations

import importlib.util
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from queue import SimpleQueue
from typing import Annotated, Any

import typer

from cli.console import output
from cli.console.output import AsJson
from cli.console.worker_progress import WorkerProgress
from cli.workers import single
from shared import settings
from shared.errors import SettingsError
from shared.settings import Settings
from shared.supabase import credentials


class Engine(StrEnum):
    process = "process"
    ray = "ray"


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
    engine: Annotated[
        Engine, typer.Option(help="Work in this process, or as actors on a Ray cluster.")
    ] = Engine.process,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Actors on the cluster. [default: one for each node]")
    ] = None,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="GPUs, or a share of one, for an actor.")] = 0,
    address: Annotated[
        str | None,
        typer.Option(help="The cluster's, or auto for the one of this node. [default: one on this machine]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Embed the images that are due from this machine, without any webhook, until Ctrl-C or SIGTERM.

    It needs SUPABASE_URL and SUPABASE_SECRET_KEY. Any number of workers may run, beside the function or
    instead of it. Told to stop, it gives back the jobs that it hasn't begun.
    """
    mine = settings.load()
    names = tuple(model or mine.embedding_models)
    if engine is Engine.ray:
        _work_on_ray(mine, names, concurrency, once, (address, workers, gpus_per_worker), as_json)
        return
    if workers or gpus_per_worker or address:
        raise SettingsError("--workers, --gpus-per-worker and --address need --engine ray. Add it.")
    progress = WorkerProgress()
    with _stopping_on_signals() as stop, single.opened(mine, names, concurrency, progress) as worker:
        output.warn(
            f"Working for {mine.supabase_url} with {', '.join(names)}, "
            f"{worker.concurrency} images at a time. "
            + ("It ends when nothing is due." if once else "Ctrl-C ends it.")
        )
        progress.begin()
        single.work(worker, progress, stop, once=once)
    if as_json:
        output.print_json(progress.as_json())
    else:
        output.say(f"Ended: {progress}.")


def _work_on_ray(
    mine: Settings,
    names: tuple[str, ...],
    concurrency: int | None,
    once: bool,
    cluster: tuple[str | None, int | None, float],
    as_json: bool,
) -> None:
    if importlib.util.find_spec("ray") is None:
        raise SettingsError(
            "--engine ray needs Ray, here and on each node: pip install 'neural-search[cli,ray]', with a "
            "Python before 3.14."
        )
    from cli.workers import ray_actor, ray_cluster  # seconds, and nobody else needs them

    mine.need("supabase_url"), credentials.service(mine)
    plan = ray_actor.Plan.of(mine, names, concurrency, once=once)
    with _stopping_on_signals() as stop:
        fleet = ray_cluster.run(plan, *cluster, stop)
    output.print_json(fleet.as_json()) if as_json else output.say(f"Ended: {fleet}.")


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
