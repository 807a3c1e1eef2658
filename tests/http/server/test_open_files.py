"""The functions' server where few files may be open."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from gunicorn.config import Config
from support.http_servers import free_port
from support.waiting import PATIENCE

from shared.http.server import PAUSE, Worker


def test_a_server_that_may_open_too_few_says_how_many_it_needs():
    program = (
        f"ulimit -n 150 && exec {sys.executable} {Path(__file__).with_name('query_process.py')} {free_port()}"
    )
    ended = subprocess.run(
        ["sh", "-c", program],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert "error: 150 files may be open. Expected 250: raise `ulimit -n`." in ended.stderr


class FullListener(socket.socket):
    """It has a client, and no file for it."""

    def accept(self) -> tuple[socket.socket, object]:
        raise OSError(errno.EMFILE, "Too many open files")


def test_the_worker_pauses_where_no_file_is_left_and_no_connection_can_end(monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    worker = Worker(0, 0, [], None, 30, Config(), None)
    with closing(worker.tmp), FullListener() as listener:
        worker.accept(listener)
    assert pauses == [PAUSE]
