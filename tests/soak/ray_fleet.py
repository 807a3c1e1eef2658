"""`neural-search worker --engine ray` on a cluster of three nodes of this machine, which may be killed.

The head holds the cluster together and runs no actors, as Ray advises; each of the two others has one.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster
from soak import workers
from soak.killer import Kill

from cli.workers.ray_cluster import PATIENT
from local.stack import Stack

NODES = 2
STORE_BYTES = 80 * 1024 * 1024
ACTOR = "ray::RayWorker"  # as Ray names its process


@contextmanager
def targets(stack: Stack) -> Iterator[Mapping[str, Kill]]:
    """The cluster at work for the stack, and how its parts are killed."""
    with _cluster() as cluster:
        options = ["--engine", "ray", "--address", cluster.address, "--workers", str(NODES)]
        with workers.kept_running(stack.settings, "ray-driver", options=options) as driver:
            yield {
                "actor": partial(_kill_actor, cluster),
                "node": partial(_replace_node, cluster),
                "driver": partial(workers.kill_one, [driver]),
            }


@contextmanager
def _cluster() -> Iterator[Cluster]:
    # Ray's sockets lie in there, and their paths may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": str(folder), "_system_config": PATIENT}
    cluster = Cluster(initialize_head=True, head_node_args=head | {"object_store_memory": STORE_BYTES})
    try:
        for _ in range(NODES):
            _add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _add_node(cluster: Cluster) -> None:
    cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)


def _kill_actor(cluster: Cluster, chance: random.Random) -> bool:
    """An actor's process, and not the decoders that it started: they have to end by themselves."""
    actors = [pid for node in cluster.worker_nodes for pid in _actors(_raylet(node))]
    if not actors:  # just being started again
        return False
    os.kill(chance.choice(sorted(actors)), signal.SIGKILL)
    return True


def _replace_node(cluster: Cluster, chance: random.Random) -> bool:
    """A node's raylet, with which all of the node ends; another node comes in its place, as in a cloud."""
    node = chance.choice(sorted(cluster.worker_nodes, key=_raylet))
    with suppress(ProcessLookupError):  # ended by itself: replaced all the same
        os.kill(_raylet(node), signal.SIGKILL)
    cluster.remove_node(node, allow_graceful=False)
    _add_node(cluster)
    return True


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def _actors(raylet: int) -> Iterator[int]:
    for child in psutil.Process(raylet).children():
        with suppress(psutil.NoSuchProcess):
            if any(ACTOR in part for part in child.cmdline()):
                yield child.pid
