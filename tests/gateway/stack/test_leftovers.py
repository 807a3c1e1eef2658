"""A killed process leaves nothing in the way of its successor."""

from __future__ import annotations

import math
import os
import signal
import threading
import uuid
from pathlib import Path

import psutil
import pytest
from support.waiting import eventually

from local import processes
from local.gateway.storage.files import Files
from local.processes import Child
from local.stack import Stack, log
from shared import settings as configuration
from shared.settings import bare_environment

SERVER = """
import pathlib, subprocess, sys, time
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("pid.new").write_text(str(sleeper.pid))
pathlib.Path("pid.new").rename("pid")
time.sleep(600)
"""


@pytest.fixture
def server(tmp_path: Path) -> Child:
    """A process that has a worker."""
    (tmp_path / "server.py").write_text(SERVER)
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])}
    return Child("server", ["server"], bare_environment(path), tmp_path / "server.log", tmp_path)


def worker_of(folder: Path) -> psutil.Process:
    eventually((folder / "pid").exists)
    process = psutil.Process(int((folder / "pid").read_text()))
    (folder / "pid").unlink()
    return process


def is_over(process: psutil.Process) -> bool:
    """Whether it ended; where nobody collects it, it stays a zombie."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until_over(process: psutil.Process) -> None:
    eventually(lambda: is_over(process))


def kill(server: Child) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: server.has_ended)


def test_the_workers_of_a_server_that_was_killed_end_with_it(server: Child, tmp_path: Path) -> None:
    server.start()
    worker = worker_of(tmp_path)
    kill(server)
    assert not is_over(worker)
    server.end_remains()
    wait_until_over(worker)
    server.end()


def test_a_restart_ends_what_was_left_behind(server: Child, tmp_path: Path) -> None:
    server.start()
    worker = worker_of(tmp_path)
    kill(server)
    server.start(fresh_log=False)
    wait_until_over(worker)
    second = worker_of(tmp_path)
    assert not is_over(second)
    server.end()
    wait_until_over(second)


def test_a_server_that_cant_be_started_again_is_tried_until_it_can(
    server: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    stack = Stack(configuration.load({"LOCAL_DATA": str(tmp_path / "data")}), functions=False)
    monkeypatch.setattr(stack, "_is_removed", lambda: False)
    monkeypatch.setattr(stack, "_revive_postgres", lambda: None)
    monkeypatch.setattr(processes, "SETTLED", math.inf)
    refused = threading.Event()
    monkeypatch.setattr(log, "error", lambda *_: refused.set())
    server._pause, stack._children = 0.0, [server]
    server.start()
    worker_of(tmp_path)
    kill(server)
    before = server.pid
    server.log.chmod(0o644)  # others could know it
    guard = threading.Thread(target=stack._keep_running, daemon=True)
    guard.start()
    try:
        assert refused.wait(30)
        server.log.chmod(0o600)
        eventually(lambda: server.pid not in (None, before))
    finally:
        stack._stopping.set()
        guard.join()
        server.end()


def test_half_written_files_are_removed_and_whole_ones_stay(tmp_path: Path) -> None:
    files = Files(tmp_path)
    whole, half = (files.path(str(uuid.uuid4())) for _ in range(2))
    half = half.with_suffix(".partial")
    for path in (whole, half):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"bytes")
    files.remove_partial()
    assert whole.exists() and not half.exists()
