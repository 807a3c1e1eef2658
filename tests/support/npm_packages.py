"""npm packages for tests, in the versions that a folder's package.json pins."""

from __future__ import annotations

import fcntl
import functools
import subprocess
from pathlib import Path

from support.prerequisites import need, unavailable

HOW_TO_GET_IT = "These tests need Node.js 20 or newer, with npm: see nodejs.org, or `apt-get install npm`."
INSTALL = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--prefer-offline")


@functools.cache  # npm takes a second to see that nothing is missing
def install(folder: Path) -> Path:
    """The folder `node_modules` beside `folder`'s package.json, with its packages. Git ignores it."""
    need("node", HOW_TO_GET_IT)
    need("npm", HOW_TO_GET_IT)
    with (folder / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # in a new clone, several at once spoil each other
        done = subprocess.run(INSTALL, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        unavailable(f"npm can't install the packages of {folder}: {done.stderr}")
    return folder / "node_modules"
