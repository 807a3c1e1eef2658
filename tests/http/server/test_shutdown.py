"""The functions' server at SIGTERM."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from support.waiting import eventually

from shared.settings import CHECKOUT

FUNCTION = """
from shared.runtime import shutdown

def ended(request):
    return str(shutdown.requested.wait(60)) if request.path == "/wait" else "ready"
"""
PATIENCE = 60.0


def test_a_request_that_runs_hears_of_sigterm_and_is_answered(tmp_path: Path):
    source = tmp_path / "main.py"
    source.write_text(FUNCTION)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "shared.http.server", "--target", "ended", "--source", str(source)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={"PATH": "/usr/bin:/bin", "THREADS": "4", "PYTHONPATH": str(CHECKOUT)},
    )
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return httpx.get(url, timeout=5).text == "ready"
        except httpx.HTTPError:
            assert process.poll() is None
            return False

    try:
        eventually(is_ready, PATIENCE)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(httpx.get, f"{url}/wait", timeout=PATIENCE)
            eventually(lambda: connections(port) >= 1, PATIENCE)
            process.terminate()
            assert answer.result().text == "True"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def connections(port: int) -> int:
    """How many established connections this machine has to the port, by Linux's own table."""
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "01" for row in table)
