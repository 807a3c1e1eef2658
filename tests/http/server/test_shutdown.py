"""The functions' server at SIGTERM."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from support import http_servers
from support.http_servers import PATIENCE, free_port
from support.waiting import eventually

from shared.settings import CHECKOUT

FUNCTION = """
from shared.runtime import shutdown

def ended(request):
    return str(shutdown.requested.wait(60)) if request.path == "/wait" else "ready"
"""


def test_a_request_that_runs_hears_of_sigterm_and_is_answered(tmp_path: Path):
    source = tmp_path / "main.py"
    source.write_text(FUNCTION)
    port = free_port()
    command = [sys.executable, "-m", "shared.http.server", "--target", "ended", "--source", str(source)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {"PATH": "/usr/bin:/bin", "THREADS": "4", "PYTHONPATH": str(CHECKOUT)}
    url = f"http://127.0.0.1:{port}"
    with http_servers.process(command, environment, url) as running, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.get, f"{url}/wait", timeout=PATIENCE)
        eventually(lambda: connections(port) >= 1, PATIENCE)
        running.terminate()
        assert answer.result().text == "True"


def connections(port: int) -> int:
    """How many established connections this machine has to the port, by Linux's own table."""
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "01" for row in table)
