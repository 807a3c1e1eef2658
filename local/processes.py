"""The stack's child processes: started, watched, restarted with a growing pause, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.errors import StackError
from shared.settings import data_folder

GRACE = 6.0  # seconds between asking a process to end and making it
LINES_SHOWN = 10
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds before a restart
BY_AND_BY = (502, 503, 504)  # the statuses of a function that may answer yet
SETTLED = 10.0  # seconds of running after which an end counts as the first again


class Child:
    """A Python module as a process, in a session of its own: Ctrl-C in the terminal is for its parent.

    It inherits the descriptor of `socket`, at each start anew. `within` is a command that becomes it, such as
    `ip netns exec NAME`.
    """

    def __init__(
        self,
        name: str,
        module: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        folder: Path,
        *,
        socket: socket.socket | None = None,
        within: Sequence[str] = (),
    ):
        self.name = name
        self.log = log
        self._command = [*within, sys.executable, "-m", "local.child", *module]
        self._environment = dict(environment)
        self._folder = folder
        self._inherited = [socket.fileno()] if socket else []
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = FIRST_PAUSE

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def has_ended(self) -> bool:
        """Whether it ran and doesn't any more."""
        return self._process is not None and self._process.poll() is not None

    def start(self, *, fresh_log: bool = True) -> None:
        self.end_remains()
        with data_folder.create(self.log) if fresh_log else data_folder.append(self.log) as log:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,  # closed with us: see local.child
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
                pass_fds=self._inherited,
            )
        self._let_go()
        self._process = process
        self._started = time.monotonic()

    def pause_before_restart(self) -> float:
        """Seconds to wait before the next start; longer each time, unless it ran well in between."""
        if time.monotonic() - self._started > SETTLED:
            self._pause = FIRST_PAUSE
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause

    def ask_to_end(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def end(self) -> None:
        """End it and all that it started, within `GRACE` seconds."""
        if self._process is None:
            return
        self.ask_to_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self._kill_group()
        self._process.wait()
        self._let_go()

    def end_remains(self) -> None:
        """Kill the remains of a process that ended.

        A server's workers outlive it by up to half a minute, and keep its port and the requests to it.
        """
        if self.has_ended:
            self._kill_group()

    def _kill_group(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter: macOS, of zombies
                os.killpg(self._process.pid, signal.SIGKILL)

    def _let_go(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def wait_for_answer(self, url: str, deadline: float) -> None:
        """Return when `url` answers 200.

        StackError where the process ends or `deadline` passes before, or where it answers that it never will.
        """
        while not self._answers(url):
            if self.has_ended:
                raise self.failure()
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} doesn't answer at {url}. Its log is {self.log}.")
            time.sleep(0.1)

    def _answers(self, url: str) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy reaches our loopback
        try:
            with opener.open(url, timeout=10) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as refusal:
            with refusal:
                if refusal.code in BY_AND_BY:
                    return False
                reason = f"{self.name} can't work: {_detail(refusal)} Its log is {self.log}."
            raise StackError(reason) from None
        except OSError:  # refused or timed out
            return False

    def failure(self) -> StackError:
        """The error for a process that ended: how, and the last lines of its log."""
        code = self._process.returncode if self._process else None
        lines = self.log.read_text(errors="replace").splitlines()[-LINES_SHOWN:]
        shown = "\n".join(lines) or "(its log is empty)"
        return StackError(f"{self.name} ended at its start, with status {code}. From {self.log}:\n{shown}")


def _detail(refusal: urllib.error.HTTPError) -> str:
    """The answer's problem details, or its status."""
    try:
        return str(json.loads(refusal.read())["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"it answers with status {refusal.code}."
