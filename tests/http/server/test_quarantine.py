"""A decoder that an image has taken over can't read its server's keys, on a kernel without Landlock, too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support import http_servers, plain_user
from support.http_servers import PATIENCE, free_port

from shared.settings import CHECKOUT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

# Starts a decoder as the server does, with the limits that it has on any kernel, and a stranger's code in it.
FUNCTION = """
import subprocess, sys

from shared import settings
from shared.images.sandbox.process import ENVIRONMENT

def decoding(request):
    if request.method == "GET":
        return "ready"
    command = [sys.executable, "-P", "-c", request.get_data(as_text=True)]
    environment = settings.bare_environment(ENVIRONMENT)
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return found.stdout + found.stderr
"""
TAKEN_OVER = """
import os
from pathlib import Path
from shared.images.sandbox import child

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])

def found(path):
    try:
        return os.readlink(path) if path.is_symlink() else path.open("rb") and "open"
    except PermissionError:
        return "forbidden"

child._confine(1 << 30)
server = os.getppid()
for pid in (server, parent(server)):
    print(*(found(Path(f"/proc/{pid}/{name}")) for name in ("environ", "maps", "mem", "fd/0")))
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    source = tmp_path / "main.py"
    source.write_text(FUNCTION)
    port = free_port()
    command = [sys.executable, "-m", "shared.http.server", "--target", "decoding", "--source", str(source)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(CHECKOUT),
        "SUPABASE_SECRET_KEY": "sb_secret_ofTheProjectAlone",
    }
    with http_servers.process(plain_user.command(command), environment, f"http://127.0.0.1:{port}"):
        yield f"http://127.0.0.1:{port}"


def test_neither_the_worker_nor_its_arbiter_shows_environment_memory_or_open_files(url: str):
    found = httpx.post(url, content=TAKEN_OVER, timeout=PATIENCE).text
    assert found.splitlines() == ["forbidden forbidden forbidden forbidden"] * 2
