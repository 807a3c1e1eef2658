"""The processes of an embedded stack: their addresses, and their use of the machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from local.stack import GATEWAY_FILE, INFO_FILE, Stack

SAMPLE_SECONDS = 0.01


def address(stack: Stack, function: str) -> str:
    """The function's own, without the gateway before it."""
    told: str = json.loads((stack.settings.local_data / GATEWAY_FILE).read_text())["functions"][function]
    return told


def process(stack: Stack, name: str) -> psutil.Process:
    """One of the stack's: the gateway, or a function."""
    info = json.loads((stack.settings.local_data / INFO_FILE).read_text())
    return psutil.Process(info["processes"][name])


def postgres(stack: Stack) -> psutil.Process:
    """The server, of which each connection's process is a child."""
    with psycopg.connect(stack.settings.database_url) as connection:
        parent = psutil.Process(connection.info.backend_pid).parent()
    assert parent
    return parent


@dataclass
class Use:
    """Of a process and all that it started, while something else went on."""

    cpu_seconds: float = 0.0
    bytes: int = 0  # beyond those before
    connections: int = 0  # open ones, beyond those before


@contextmanager
def measured(root: psutil.Process) -> Iterator[Use]:
    """Fills in the use of the block; memory and connections at their most, by samples."""
    use, done = Use(), threading.Event()
    cpu, weight, connected = _cpu(root), _bytes(root), _connections(root)

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            use.bytes = max(use.bytes, _bytes(root) - weight)
            use.connections = max(use.connections, _connections(root) - connected)

    watcher = threading.Thread(target=watch, name="use")
    watcher.start()
    try:
        yield use
    finally:
        done.set()
        watcher.join()
        use.cpu_seconds = _cpu(root) - cpu


def _family(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _cpu(root: psutil.Process) -> float:
    """Seconds of all, those included that have ended."""
    return sum(sum(one.cpu_times()[:4]) for one in _living(root))


def _living(root: psutil.Process) -> Iterator[psutil.Process]:
    for one in _family(root):
        with suppress(psutil.Error):
            one.cpu_times()
            yield one


def _bytes(root: psutil.Process) -> int:
    return sum(_own(one.pid) for one in _family(root))


def _own(pid: int) -> int:
    """Memory that is the process's alone."""
    with suppress(OSError, ValueError):
        resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
        return (int(resident) - int(shared)) * 4096
    return 0


def _connections(root: psutil.Process) -> int:
    count = 0
    for one in _family(root):
        with suppress(psutil.NoSuchProcess):
            count += sum(found.status == psutil.CONN_ESTABLISHED for found in one.net_connections("inet"))
    return count
