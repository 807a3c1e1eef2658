"""`up --detach` waits for its own stack, whatever another one beside it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from shared.settings import bare_environment

UP = """
import sys

sys.executable, sys.argv = sys.argv[1], ["neural-search", "up", "--detach"]
from cli.__main__ import main

main()
"""
STARTS = "#!/bin/sh\necho Preparing\nwhile [ ! -e go ]; do sleep 0.1; done\necho Ready\n"
STOPPED = "#!/bin/sh\necho 'Starting Postgres …'\nkill -TERM $$\n"
FAILS = "#!/bin/sh\necho 'error: the folder is held'\nexit 1\n"


def up(folder: Path, script: str) -> subprocess.Popen[str]:
    """`up --detach`, whose stack this script is."""
    path = folder / f"stack-{len(script)}"
    path.write_text(script)
    path.chmod(0o700)
    return subprocess.Popen(
        [sys.executable, "-c", UP, str(path)],
        env=bare_environment({"LOCAL_DATA": str(folder / "data")}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def test_each_tells_its_own_lines_where_two_start(tmp_path: Path) -> None:
    with up(tmp_path, STARTS) as first:
        assert first.stdout and first.stdout.readline() == "Preparing\n"
        with up(tmp_path, FAILS) as second:
            said, error = second.communicate(timeout=60)
        assert (second.returncode, said) == (1, "") and "the folder is held" in error
        (tmp_path / "go").touch()
        try:
            said, error = first.communicate(timeout=20)
        finally:
            first.kill()
    assert (first.returncode, said.splitlines()[0], error) == (0, "Ready", "")
    logs = {path.name: path.read_text() for path in (tmp_path / "data" / "logs").iterdir()}
    assert logs == {"up.log": "Preparing\nReady\n"}


def test_one_that_is_stopped_meanwhile_says_so(tmp_path: Path) -> None:
    with up(tmp_path, STOPPED) as process:
        said, error = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "Starting Postgres …\n")
    assert error.startswith("error: It was stopped before it was ready. The log is ")
