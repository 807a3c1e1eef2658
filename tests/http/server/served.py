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
from support import http_servers, process_use
from support.http_servers import free_port
from support.process_use import Use


@dataclass
class Cost(Use):
    """The use of the function's process meanwhile, and whether /live answered."""

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
        with process_use.measured(self.worker, cost):
            watcher.start()
            try:
                yield cost
            finally:
                done.set()
                watcher.join()

    def connections(self) -> int:
        return sum(bool(each.raddr) for each in self.worker.net_connections("tcp"))

    def _watch(self, cost: Cost, done: threading.Event) -> None:
        while not done.wait(0.2):
            try:
                cost.alive &= httpx.get(f"{self.url}/live", timeout=10).status_code == 200
            except httpx.HTTPError:
                cost.alive = False


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(Path(__file__).with_name("query_process.py")), str(port)]
    environment = {"PATH": "/usr/bin:/bin", "THREADS": "8"}
    with http_servers.process(command, environment, f"{url}/live") as running:
        [worker] = psutil.Process(running.pid).children()
        yield Served(url, port, worker)
