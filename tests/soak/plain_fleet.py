"""Four plain workers, two of them in network namespaces that reach nothing but the project's API."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from soak import workers
from soak.killer import Kill
from soak.namespaces import Namespace, namespace

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
        yield {"worker": partial(workers.kill_one, children)}


def _apart(opened: ExitStack, number: int, url: str) -> Namespace:
    try:
        return opened.enter_context(namespace(number, url))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"machines: a worker has no network of its own here, which root on Linux may make: {error}")
        return Namespace(command=(), url=url)
