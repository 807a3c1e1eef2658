"""The files of a running embedded stack, without any process of it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.settings import data_folder

KILLED = 4_194_304  # an id that no process has, and which `down` would send its signal to


@contextmanager
def pretended(folder: Path, port: int) -> Iterator[str]:
    """Its address. With the block its lock is free and its files stay, as those of one that was killed."""
    url = f"http://127.0.0.1:{port}"
    settings = f"SUPABASE_URL={url}\nSUPABASE_SECRET_KEY=sb_secret_x\n"
    data_folder.write(folder / "stack.env", settings)
    data_folder.write(folder / "stack.json", json.dumps({"pid": KILLED, "url": url, "processes": {}}))
    with data_folder.append(folder / data_folder.LOCK_FILE) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield url
