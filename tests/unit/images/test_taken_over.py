"""A decoder that an image has taken over gains little: of the kernel's means those that this machine has."""

from __future__ import annotations

import ctypes
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from support import plain_user
from support.waiting import PATIENCE

from shared import settings
from shared.images.sandbox import messages
from shared.images.sandbox.child import Limits
from shared.images.sandbox.process import ENVIRONMENT
from shared.runtime.privileges import CREATE_RULESET, GET_VERSION

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's means")

LIMITS = Limits(seconds=20.0, elapsed=30.0, memory=1 << 30, max_bytes=1 << 20, max_pixels=1_000_000)

# The decoder as it is, but that its first image has it run a stranger's code.
TAKEN_OVER = """
import json, os, signal, socket, sys
from shared.images.sandbox import child

victim, port, folder = json.loads(sys.argv[3])

def outcome(attempt):
    try:
        attempt()
    except PermissionError:
        return "forbidden"
    return "done"

def taken_over(connection, limits):
    attempts = {
        "environment": lambda: open(f"/proc/{victim}/environ", "rb").read(),
        "memory": lambda: open(f"/proc/{victim}/mem", "rb"),
        "addresses": lambda: open(f"/proc/{victim}/maps", "rb"),
        "open files": lambda: os.readlink(f"/proc/{victim}/fd/0"),
        "programs": lambda: os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", ":"], {}), 0),
        "new files": lambda: open(f"{folder}/new", "w"),
        "others' files": lambda: open(f"{folder}/old", "a"),
        "gone files": lambda: os.remove(f"{folder}/old"),
        "connections": lambda: socket.create_connection(("127.0.0.1", port)),
        "servers": lambda: socket.create_server(("127.0.0.1", 0)),
        "signals": lambda: os.kill(victim, signal.SIGCONT),
    }
    child.messages.send(connection, {name: outcome(attempt) for name, attempt in attempts.items()})
    sys.exit()

child._serve = taken_over
child.main()
"""
SINCE = {"connections": 4, "servers": 4, "signals": 6}  # versions of Landlock, where not the first


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of the same user, with a secret."""
    program = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, env={"SUPABASE_SECRET_KEY": "ours"}, stdin=pipe, stdout=pipe) as running:
        assert running.stdout
        running.stdout.readline()
        yield running


def test_it_reaches_no_other_process_program_file_or_server(victim: subprocess.Popen[bytes], tmp_path: Path):
    version = landlock()
    if version < 1:
        pytest.skip("a kernel without Landlock")
    (tmp_path / "old").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = taken_over(victim.pid, server.getsockname()[1], str(tmp_path))
    expected = {name: "forbidden" if version >= SINCE.get(name, 1) else "done" for name in found}
    assert found == expected


def taken_over(*victims: object) -> dict[str, str]:
    mine, theirs = socket.socketpair()
    arguments = [str(theirs.fileno()), json.dumps(asdict(LIMITS)), json.dumps(victims)]
    command = plain_user.command([sys.executable, "-P", "-c", TAKEN_OVER, *arguments])
    environment = settings.bare_environment(ENVIRONMENT)
    with mine, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment):
        theirs.close()
        mine.settimeout(PATIENCE)
        assert messages.receive(mine, max_body=0) == ({"ready": True}, b"")
        return messages.receive(mine, max_body=0)[0]


def landlock() -> int:
    """The version that this kernel has, or -1."""
    return int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, GET_VERSION))
