"""The embedded stack as `neural-search up` starts it: real processes, and the default model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.stacks.running_stack import launched
from local.stack import Stack
from shared import settings
from support.http_servers import free_port


@contextmanager
def temporary_stack() -> Iterator[Stack]:
    """On a port and in a folder of its own; with the demo's bucket `images`, empty."""
    # Not tmp_path: as root Postgres runs as somebody else, who can't enter pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="neural-search-"))
    folder.chmod(0o711)
    try:
        with launched(settings.load({"LOCAL_DATA": str(folder), "LOCAL_PORT": str(free_port())})) as stack:
            yield stack
    finally:
        shutil.rmtree(folder)
