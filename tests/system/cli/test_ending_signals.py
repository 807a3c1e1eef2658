"""SIGTERM and SIGHUP end a command with its clean-up, as Ctrl-C does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import sys, tempfile, time
from cli.__main__ import app, main

@app.command()
def hold(folder: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder):
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            print("ending", flush=True)
            time.sleep(0.5)

main()
"""


def held(folder: Path, hangup: signal.Handlers = signal.SIG_DFL) -> subprocess.Popen[str]:
    """The command at work; it inherits whether SIGHUP is ignored."""
    before = signal.signal(signal.SIGHUP, hangup)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, "hold", str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_command_with_its_clean_up(number: signal.Signals, tmp_path: Path):
    with held(tmp_path) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "ending\n"
        if number != signal.SIGINT:
            process.send_signal(number)  # doesn't break off the clean-up
        assert process.wait(30) == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_a_command_under_nohup_goes_on(tmp_path: Path):
    with held(tmp_path, signal.SIG_IGN) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
