"""How the commands print: tables and progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.secrets.masking import without_own_secrets

if TYPE_CHECKING:
    from rich.progress import Progress

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

LINE_EVERY = 10.0  # seconds between two lines about progress in a pipe
# Of names, metadata and errors, which are other people's: control characters but for tabs and line breaks,
# marks that turn the direction of writing, halves of a character.
UNPRINTABLE = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def say(line: str = "") -> None:
    """One line on stdout, at once: somebody may be waiting for it."""
    typer.echo(printable(line))
    sys.stdout.flush()


def warn(line: str) -> None:
    typer.echo(printable(line), err=True)


def print_json(value: Any) -> None:
    typer.echo(printable(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def printable(text: str) -> str:
    """`text` without our own secrets, for a terminal, which obeys control characters: those as JSON writes
    them, `\\u001b`."""
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", without_own_secrets(text))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], indent: str = "", *, folded: bool = True
) -> None:
    """`rows` under `columns`; in a pipe, and where not `folded`, aligned with spaces and never broken."""
    text = [["" if cell is None else in_one_line(str(cell)) for cell in row] for row in rows]
    if folded and sys.stdout.isatty():
        _rich_table(columns, text)
        return
    widths = [max(map(len, column)) for column in zip(columns, *text, strict=True)]
    for row in (columns, *text):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say((indent + "  ".join(cells)).rstrip())


def in_one_line(text: str) -> str:
    """A name or a cell, of which line breaks and tabs would make several."""
    return printable(text).replace("\n", "\\u000a").replace("\t", "\\u0009")


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # rich takes 50 ms to import: `--help` and pipes do without.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(table)


@contextmanager
def progress(*labels: str, total: int | None) -> Iterator[Callable[[str, int], None]]:
    """Progress bars on stderr, in a pipe a line now and then; yields `show(label, done)`.

    `total` is None where nobody knows it.
    """
    if not sys.stderr.isatty():
        yield _lines(total)
        return
    with progress_bars() as bars:
        tasks = {label: bars.add_task(label, total=total) for label in labels}
        yield lambda label, done: bars.update(tasks[label], completed=done)


def progress_bars() -> Progress:
    """rich's bars on stderr, gone when they end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _lines(total: int | None) -> Callable[[str, int], None]:
    done_by_label: dict[str, int] = {}
    next_line = time.monotonic() + LINE_EVERY

    def show(label: str, done: int) -> None:
        nonlocal next_line
        done_by_label[label] = done
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + LINE_EVERY
            of = "" if total is None else f" of {total:,}"
            warn(", ".join(f"{label}: {done:,}{of}" for label, done in done_by_label.items()))

    return show


def seconds(value: float) -> str:
    """A duration for people: `0.42 s`, `12.3 s`, `2 min 5 s`."""
    if value < 10:
        return f"{value:.2f} s"
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {round(value % 60)} s"


def count(number: int, noun: str) -> str:
    """`1 image`, `3 images`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
