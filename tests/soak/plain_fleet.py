"""Four plain workers, two of them in network namespaces that reach nothing but the project's API."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from soak import workers
from soak.killer import Kill
from soak.namespaces import Namespace, namespace

from local.processes import Child
from local.stack import Stack

HERE, APART = 2, 2  # workers on the stack's own network, and on others


@contextmanager
def targets(stack: Stack) -> Iterator[Mapping[str, Kill]]:
    """The workers, and how one of them is killed."""
    with ExitStack() as opened:
        places = [Namespace(command=(), url=stack.url)] * HERE + [
            _apart(opened, number, stack.url) for number in range(APART)
        ]
        children = [
            opened.enter_context(
                workers.kept_running(stack.settings, f"worker-{n}", url=place.url, within=place.command)
            )
            for n, place in enumerate(places)
        ]
        yield {"worker": partial(_kill, children)}


def _apart(opened: ExitStack, number: int, url: str) -> Namespace:
    try:
        return opened.enter_context(namespace(number, url))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"machines: a worker has no network of its own here, which root on Linux may make: {error}")
        return Namespace(command=(), url=url)


def _kill(children: Sequence[Child], chance: random.Random) -> bool:
    running = [child.pid for child in children if child.pid and not child.has_ended]
    if running:
        os.kill(chance.choice(running), signal.SIGKILL)
    return bool(running)
