"""Workers on a Ray cluster. Placement, GPUs and restarts are Ray's; the queue alone knows the progress."""

from __future__ import annotations

import logging
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from cli.console import output
from cli.workers.fleet import LOOK_SECONDS, Fleet
from cli.workers.ray_actor import Plan, RayWorker
from shared.errors import SettingsError

STOPS_WITHIN = 150.0  # seconds: longer than a job may take
ANSWERS_WITHIN = 10.0  # seconds
STORE_BYTES = 100 * 1024 * 1024  # of a cluster on this machine: nothing of ours lies in Ray's object store
# Of a cluster on this machine. A driver waits for processes that it has started ahead, and without end where
# one takes longer than Ray's 60 seconds, as on a busy machine.
PATIENT = {"prestart_worker_first_driver": False, "worker_register_timeout_seconds": 300}


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
