"""Data folders for the embedded stack."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.http_servers import free_port


@pytest.fixture(scope="module")
def data_folder() -> Iterator[Path]:
    # Not tmp_path: as root Postgres runs as somebody else, who can't enter pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="neural-search-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack(data_folder: Path) -> Iterator[CommandLine]:
    """The embedded stack, running in the background."""
    command = CommandLine(data_folder, free_port())
    command.spawn("up", "--detach")
    yield command
    command.spawn("down")


@pytest.fixture
def nowhere(tmp_path: Path) -> CommandLine:
    """No stack runs, and no setting is set."""
    return CommandLine(tmp_path / "data", free_port())
