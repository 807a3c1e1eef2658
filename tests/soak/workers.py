"""`neural-search worker` as a service manager runs it: started again whenever it ends."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from local.processes import Child
from shared import settings
from shared.settings import CHECKOUT, Secret, Settings

LOOK_EVERY = 0.5  # seconds between two looks at the worker


def kill_one(workers: Sequence[Child], chance: random.Random) -> bool:
    """By SIGKILL; whether one was running."""
    running = [worker.pid for worker in workers if worker.pid and not worker.has_ended]
    if running:
        os.kill(chance.choice(running), signal.SIGKILL)
    return bool(running)


@contextmanager
def kept_running(
    own: Settings,
    name: str = "worker",
    *,
    url: str = "",
    within: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Iterator[Child]:
    """A worker with the secret key alone, which finds the project at `url`. `within` is a command before
    its own, such as `ip netns exec`."""
    known = replace(own, supabase_url=url or own.supabase_url, database_url=Secret(""))
    values = settings.environment(known)
    log = own.local_data / "logs" / f"{name}.log"
    child = Child(
        name, ["cli", "worker", *options], settings.bare_environment(values), log, CHECKOUT, within=within
    )
    stopping = threading.Event()

    def keep_running() -> None:
        while not stopping.wait(LOOK_EVERY):
            if child.has_ended:
                child.start(fresh_log=False)

    guard = threading.Thread(target=keep_running, name=f"{name}-guard")
    child.start()
    guard.start()
    try:
        yield child
    finally:
        stopping.set()
        guard.join()
        child.end()
