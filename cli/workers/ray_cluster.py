"""Workers on a Ray cluster. Placement, GPUs and restarts are Ray's; the queue alone says what is done.

An actor that dies takes with it at most the counts since the last look, and leaves leases, which run out.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError

from cli.console import output
from cli.console.worker_progress import STATUSES
from cli.workers.ray_actor import Look, Plan, RayWorker
from shared.errors import NeuralSearchError, SettingsError
from shared.indexing.queue import LEASE_SECONDS

LOOK_SECONDS = 1.0  # between two looks at the actors
GIVEN_UP = 5  # looks in a row that find an actor dead, and not just being started again
STOPS_WITHIN = 150.0  # seconds: longer than a job may take
ANSWERS_WITHIN = 10.0  # seconds
STORE_BYTES = 100 * 1024 * 1024  # of a cluster on this machine: nothing of ours lies in Ray's object store
# Of a cluster on this machine. A driver waits for processes that it has started ahead, and without end where
# one takes longer than Ray's 60 seconds, as on a busy machine.
PATIENT = {"prestart_worker_first_driver": False, "worker_register_timeout_seconds": 300}


class Fleet:
    """The actors, and their counts through all restarts."""

    def __init__(self, actors: Sequence[Any]):
        self._actors = list(actors)
        self._asked: dict[Any, int] = {}  # questions without an answer yet, with their actors' numbers
        self._now: dict[int, Look] = {}
        self._lives: dict[tuple[int, str], Look] = {}  # the last look at each actor's each
        self._began = time.monotonic()
        self._deaths: Counter[int] = Counter()  # by actor, those in a row
        # Monotonic: when the last lease ends of an actor that died since `begin`; None where none did.
        self._leased_until: float | None = None

    def look(self) -> None:
        """Asks each actor that has answered before, and takes what comes within `LOOK_SECONDS`."""
        for number in sorted(set(range(len(self._actors))) - set(self._asked.values())):
            self._asked[self._actors[number].look.remote()] = number
        ready, _ = ray.wait([*self._asked], num_returns=len(self._asked), timeout=LOOK_SECONDS)
        for reference in ready:
            self._take(self._asked.pop(reference), reference)

    def begin(self) -> None:
        """Has those work again that have ended."""
        for actor in self._actors:
            actor.begin.remote()
        self._now.clear()
        self._asked.clear()  # answers from before
        self._leased_until = None

    def leased_for(self) -> float | None:
        """Seconds until the images are due that actors had which died since `begin`; None where none did.

        0 where they already are: the others may have ended before.
        """
        return None if self._leased_until is None else max(0.0, self._leased_until - time.monotonic())

    def stop(self) -> None:
        for actor in self._actors:
            actor.stop.remote()

    @property
    def working(self) -> int:
        return sum(look.working for look in self._now.values())

    @property
    def has_ended(self) -> bool:
        """Whether all have, but for those that there is no place for."""
        return bool(self._now) and not self.working

    @property
    def restarts(self) -> int:
        return len(self._lives) - len({number for number, _ in self._lives})

    def as_json(self) -> dict[str, Any]:
        """The keys of a plain worker, and the cluster's own."""
        totals, causes = self._totals()
        counts = {status: totals[status] for status in STATUSES} | {"given_back": self._given_back}
        about = {"causes": dict(causes), "workers": len(self._actors), "restarts": self.restarts}
        return {**counts, **about, "seconds": round(self._seconds, 3)}

    def __str__(self) -> str:
        counts, causes = self._totals()
        told = [f"{number:,} {status}" for status, number in counts.most_common()] or ["nothing yet"]
        given_back = f", {self._given_back:,} given back" if self._given_back else ""
        failed = [f"{cause} {number:,}" for cause, number in causes.most_common()]
        why = f" ({', '.join(failed)})" if failed else ""
        rate = f"{counts.total() / self._seconds:.1f} images/s"
        workers = f"{self.working} of {output.count(len(self._actors), 'worker')} working"
        return (
            f"{', '.join(told)}{why}{given_back}; {rate}; {workers}, {output.count(self.restarts, 'restart')}"
        )

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def _given_back(self) -> int:
        return sum(look.given_back for look in self._lives.values())

    def _totals(self) -> tuple[Counter[str], Counter[str]]:
        lives = self._lives.values()
        counts = sum((look.counts for look in lives), Counter[str]())
        return counts, sum((look.causes for look in lives), Counter[str]())

    def _take(self, number: int, reference: Any) -> None:
        try:
            look: Look = ray.get(reference)
        except RayActorError as error:
            if error.actor_init_failed:
                raise SettingsError(
                    f"A node of the cluster can't start a worker: {_end_of(error)} Install the same "
                    "neural-search[cli,ray] on each node, or start all from one container image."
                ) from error
            self._bury(number, error)
            return
        if look.fault:
            raise NeuralSearchError(f"The worker on {look.host} ended: {look.fault}")
        said = self._now[number].said if number in self._now else ""
        if look.said and look.said != said:
            output.warn(f"{look.host}: {look.said}")
        self._now[number] = self._lives[number, look.life] = look
        self._deaths[number] = 0

    def _bury(self, number: int, error: RayActorError) -> None:
        """Ray starts it again, unless it has given up: as with the node that the driver is attached to."""
        self._now.pop(number, None)
        self._leased_until = time.monotonic() + LEASE_SECONDS
        self._deaths[number] += isinstance(error, ActorDiedError)
        if self._deaths[number] >= GIVEN_UP:
            raise NeuralSearchError(
                f"Ray doesn't start a worker again: {_end_of(error)} Run the command again; the images that "
                "the worker had are due in two minutes."
            ) from error


def run(
    plan: Plan, address: str | None, workers: int | None, gpus_per_worker: float, stop: threading.Event
) -> Fleet:
    """Works until nothing is due or, without `once`, until `stop` is set."""
    with _connected(address):
        count = workers or _nodes(gpus_per_worker)
        output.warn(
            f"{output.count(count, 'worker')} for {plan.settings.supabase_url} on Ray {ray.__version__}."
        )
        actor = ray.remote(RayWorker).options(
            max_restarts=-1, num_cpus=1, num_gpus=gpus_per_worker, scheduling_strategy="SPREAD"
        )
        fleet = Fleet([actor.remote(plan) for _ in range(count)])
        _follow(fleet, stop)
        while plan.once and not stop.is_set() and (seconds := fleet.leased_for()) is not None:
            output.warn(f"The leases of workers that died end in {output.seconds(seconds)}.")
            stop.wait(seconds)
            fleet.begin()
            _follow(fleet, stop)
        return fleet


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """A driver of the cluster at `address`; None: of one that is started on this machine for the block."""
    _require_answer(address or "")
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    own["_system_config"] = PATIENT
    own["_node_ip_address"] = "127.0.0.1"  # or Ray listens on all networks, and asks callers for nothing
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of Ray's next versions
            ray.init(address=address or "local", **quiet, **({} if address else own))
    except Exception as error:  # Ray raises bare ones too
        told = " ".join(str(error).split())
        raise SettingsError(
            f"Ray can't be used at {address or 'this machine'}: {told} Check --address, and that the cluster "
            f"has Ray {ray.__version__} and this Python, as this machine."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """SettingsError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():  # auto
        return
    try:
        socket.create_connection((host, int(port)), ANSWERS_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"No Ray answers at {address}: {error}. Check --address: it is the head's, with the port that "
            "`ray start --head` told, 6379 by default."
        ) from error


def _nodes(gpus: float) -> int:
    """How many nodes a worker fits on."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fitting = [has for has in alive if has.get("CPU", 0) >= 1 and has.get("GPU", 0) >= gpus]
    if not fitting:
        raise SettingsError(
            f"None of the cluster's {output.count(len(alive), 'node')} has a CPU and {gpus:g} GPUs for a "
            "worker. Start nodes that have, or say with --workers how many the cluster is to grow to."
        )
    return len(fitting)


def _follow(fleet: Fleet, stop: threading.Event) -> None:
    """Until all that were placed have ended, or have given back their jobs as they are told to stop."""
    told = time.monotonic()
    while not (fleet.has_ended or stop.is_set()):
        fleet.look()
        if time.monotonic() >= told + output.LINE_EVERY:
            told = time.monotonic()
            output.warn(str(fleet))
        stop.wait(LOOK_SECONDS)
    if stop.is_set():
        _end(fleet)


def _end(fleet: Fleet) -> None:
    fleet.stop()
    give_up = time.monotonic() + STOPS_WITHIN
    while fleet.working and time.monotonic() < give_up:
        time.sleep(LOOK_SECONDS)
        fleet.look()


def _end_of(error: BaseException) -> str:
    """The last line of a traceback on a node."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
