"""SIGKILL at random moments, as the kernel sends it to a process that takes too much memory."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import psycopg
from soak.project import Project

from local.stack import Stack
from shared.settings import Settings

Kill = Callable[[random.Random], bool]  # whether something was there to be killed

DECODER = "shared.images.sandbox.child"
WEIGHTS = {
    "embed_on_upload": 5,
    "query": 1,
    "worker": 4,
    "decoder": 4,
    "postgres": 2,
    "postgres backend": 2,
    "gateway": 1,
}


class Killer:
    """Kills until it is told to stop; `pause` is the mean number of seconds between two kills."""

    def __init__(
        self,
        project: Project,
        settings: Settings,
        worker: Callable[[], int | None],
        *,
        pause: float,
        seed: int,
    ):
        self.kills: Counter[str] = Counter()
        self._project = project
        self._settings = settings
        self._worker = worker
        self._pause = pause
        self._chance = random.Random(f"{seed}/killer")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="killer")

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopping.wait(self._chance.expovariate(1 / self._pause)):
            target = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            candidates = sorted(self._find(target))
            if not candidates:  # it isn't there, or just being started again
                continue
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(candidates), signal.SIGKILL)
                self.kills[target] += 1

    def _find(self, target: str) -> Iterator[int]:
        """The processes that one kill of `target` chooses from."""
        running = Stack.running(self._settings)
        parents = dict(running.processes) if running else {}
        if worker := self._worker():
            parents["worker"] = worker
        match target:
            case "postgres":
                yield from self._postgres(lambda mine: [psutil.Process(mine).ppid()])
            case "postgres backend":
                yield from self._postgres(
                    lambda mine: [p.pid for p in psutil.Process(mine).parent().children()]
                )
            case "decoder":
                yield from (pid for pid in _family(parents.values()) if _is_decoder(pid))
            case _:
                parent = [parents[target]] if target in parents else []
                yield from (pid for pid in _family(parent) if not _is_decoder(pid))

    def _postgres(self, choose: Callable[[int], list[int]]) -> list[int]:
        with suppress(psycopg.OperationalError, psutil.NoSuchProcess), self._project.connect() as database:
            return choose(database.info.backend_pid)
        return []


def _family(parents: object) -> Iterator[int]:
    """The processes and all that they have started."""
    for parent in parents:  # type: ignore[attr-defined]
        with suppress(psutil.NoSuchProcess):
            yield parent
            yield from (child.pid for child in psutil.Process(parent).children(recursive=True))


def _is_decoder(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return DECODER in psutil.Process(pid).cmdline()
    return False
