"""The query function as a process with its real server, and its costs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from support import http_servers
from support.http_servers import free_port


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

    def connections(self) -> int:
        return sum(bool(each.raddr) for each in self.worker.net_connections("tcp"))

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
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(Path(__file__).with_name("query_process.py")), str(port)]
    environment = {"PATH": "/usr/bin:/bin", "THREADS": "8"}
    with http_servers.process(command, environment, f"{url}/live") as running:
        [worker] = psutil.Process(running.pid).children()
        yield Served(url, port, worker)
