"""Progress through steps that become known one after the other."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.console import output

if TYPE_CHECKING:
    from rich.progress import TaskID

Show = Callable[[str, int, int], None]  # the step, how many are done, of how many


@contextmanager
def steps() -> Iterator[Show]:
    """A bar on stderr for the step that is under way; in a pipe a line now and then."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    with output.progress_bars() as bars:
        tasks: dict[str, TaskID] = {}

        def show(label: str, done: int, total: int) -> None:
            if label not in tasks:
                for task in tasks.values():
                    bars.update(task, visible=False)
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total, visible=True)

        yield show


def _lines() -> Show:
    next_line = time.monotonic() + output.LINE_EVERY

    def show(label: str, done: int, total: int) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + output.LINE_EVERY
            output.warn(f"{label}: {done:,} of {total:,}")

    return show
