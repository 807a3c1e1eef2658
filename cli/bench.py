"""`neural-search bench`: how fast it is on this machine, beside what the machine allows and others reach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.output import AsJson
from cli.steps import steps


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Measure the speed on this machine.")
    group.command()(embed)
    app.add_typer(group, name="bench")


def embed(
    only: Annotated[
        str | None,
        typer.Option(
            help="Only these rows, with commas: step, eager, 12mp, 512px, cold, memory, function, gpu."
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the table into this file, e.g. docs/speed.md."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the pictures.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure how fast images become vectors, each figure beside its target. Takes up to ten minutes."""
    from benchmarks import embed as bench
    from benchmarks import figures, speed

    rows = [row.strip() for row in only.split(",")] if only else list(bench.ROWS)
    with steps() as show:
        report, found = bench.measure(rows, show, seed=seed)
    if record:
        speed.replace(record, "embedding", figures.table(report, found))
    if as_json:
        output.print_json(report)
        return
    output.print_table(figures.COLUMNS, figures.cells(found))
    for one in report["skipped"]:
        output.say(f"skipped: {one['row']}: {one['reason']}")
    output.say(f"\nMeasured in {output.seconds(report['seconds'])}.")
