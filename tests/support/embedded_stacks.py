"""The embedded stack as `neural-search up` starts it: real processes, and the default model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from cli.stacks.running_stack import launched
from local.folders import passable
from local.stack import Stack
from shared import settings
from support.http_servers import free_port


@contextmanager
def temporary_stack(
    make_folder: Callable[[], AbstractContextManager[Path]] = passable,
) -> Iterator[Stack]:
    """On a port and in a folder of its own; with the demo's bucket `images`, empty."""
    with make_folder() as folder:
        own = settings.load({"LOCAL_DATA": str(folder), "LOCAL_PORT": str(free_port())})
        with launched(own) as stack:
            yield stack
