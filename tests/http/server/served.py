"""The query function as a process with its real server, and its costs."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from support.waiting import eventually

PATIENCE = 60.0


@dataclass
class Cost:
    """The use of the function's process meanwhile, and whether /live answered."""

    cpu_seconds: float = 0.0
    bytes: int = 0  # beyond those before
    alive: bool = True


@dataclass(frozen=True)
class Served:
    url: str
    port: int
    worker: psutil.Process

    @contextmanager
    def measured(self) -> Iterator[Cost]:
        """Fills in the cost of the block; /live is asked all the while."""
        cost, done = Cost(), threading.Event()
        watcher = threading.Thread(target=self._watch, args=(cost, done))
        folder = Path(f"/proc/{self.worker.pid}")
        (folder / "clear_refs").write_text("5")  # the peak begins anew
        before, cpu = _kilobytes(folder, "VmRSS"), self._cpu()
        watcher.start()
        try:
            yield cost
        finally:
            done.set()
            watcher.join()
            cost.cpu_seconds = self._cpu() - cpu
            cost.bytes = (_kilobytes(folder, "VmHWM") - before) * 1024

    def _cpu(self) -> float:
        times = self.worker.cpu_times()
        return times.user + times.system

    def _watch(self, cost: Cost, done: threading.Event) -> None:
        while not done.wait(0.2):
            try:
                cost.alive &= httpx.get(f"{self.url}/live", timeout=10).status_code == 200
            except httpx.HTTPError:
                cost.alive = False


def _kilobytes(folder: Path, name: str) -> int:
    line = next(line for line in (folder / "status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    program = Path(__file__).with_name("query_process.py")
    environment = {"PATH": "/usr/bin:/bin", "THREADS": "8"}
    process = subprocess.Popen([sys.executable, str(program), str(port)], env=environment)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/live", timeout=5).status_code == 200
        except httpx.HTTPError:
            assert process.poll() is None
            return False

    try:
        eventually(answers, PATIENCE)
        [worker] = psutil.Process(process.pid).children()
        yield Served(url, port, worker)
    finally:
        process.terminate()
        process.wait(PATIENCE)
