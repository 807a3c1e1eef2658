"""Data folders for the embedded stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.http_servers import free_port
from support.memory_folder import quick_folder


@pytest.fixture(scope="module")
def data_folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture(scope="package")
def stack() -> Iterator[CommandLine]:
    """The embedded stack, running in the background: one for all, who keep apart by their folders' names."""
    with quick_folder() as folder:
        command = CommandLine(folder, free_port())
        command.spawn("up", "--detach")
        yield command
        command.spawn("down")


@pytest.fixture
def nowhere(tmp_path: Path) -> CommandLine:
    """No stack runs, and no setting is set."""
    return CommandLine(tmp_path / "data", free_port())
