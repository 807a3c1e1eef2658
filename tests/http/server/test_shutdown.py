"""The functions' server at SIGTERM."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from support import http_servers
from support.http_servers import PATIENCE, free_port
from support.waiting import eventually

from shared.settings import CHECKOUT

SLOW = 2.5  # seconds: the server gives 15 before its end, and 5 from then on
LONG = 8_000_000  # bytes of an answer: more than the system keeps for a client that takes none
FUNCTION = f"""
from shared.runtime import shutdown

def ended(request):
    if request.path == "/long":
        return bytes({LONG})
    return str(shutdown.requested.wait(60)) if request.path == "/wait" else "ready"
"""


class Ended(NamedTuple):
    process: subprocess.Popen[bytes]
    port: int


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[Ended]:
    """A server of the function above."""
    source = tmp_path / "main.py"
    source.write_text(FUNCTION)
    port = free_port()
    command = [sys.executable, "-m", "shared.http.server", "--target", "ended", "--source", str(source)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {"PATH": "/usr/bin:/bin", "THREADS": "4", "PYTHONPATH": str(CHECKOUT)}
    with http_servers.process(command, environment, f"http://127.0.0.1:{port}") as running:
        yield Ended(running, port)


def test_a_request_that_runs_hears_of_sigterm_and_is_answered(ended: Ended):
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.get, f"http://127.0.0.1:{ended.port}/wait", timeout=PATIENCE)
        eventually(lambda: connections(ended.port) >= 1, PATIENCE)
        ended.process.terminate()
        assert answer.result().text == "True"


def test_an_answer_that_a_client_is_slow_to_take_is_whole_after_sigterm(ended: Ended):
    with socket.create_connection(("127.0.0.1", ended.port), timeout=60) as client:
        client.sendall(b"GET /long HTTP/1.1\r\nHost: ended\r\n\r\n")
        beginning = client.recv(100)
        time.sleep(SLOW)
        ended.process.terminate()
        time.sleep(2.0)  # longer than waiting and lingering connections are given
        answer = beginning + client.makefile("rb").read()
    assert len(answer.split(b"\r\n\r\n", 1)[1]) == LONG


def connections(port: int) -> int:
    """How many established connections this machine has to the port, by Linux's own table."""
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "01" for row in table)
