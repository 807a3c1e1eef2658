"""`neural-search bench`: the speed on this machine, beside the machine's limit and the alternatives'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import output
from cli.console.output import AsJson
from cli.console.progress import steps

BATCH = 64  # images; the same ones always meet in the same batches


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Measure the speed on this machine.")
    group.command()(embed)
    group.command()(search)
    group.command()(queue)
    group.command()(mixture)
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

    if record:
        speed.around(record, "embedding")
    rows = [row.strip() for row in only.split(",")] if only else list(bench.ROWS)
    with steps() as show:
        report, found = bench.measure(rows, show, seed=seed)
    if as_json:
        output.print_json(report)
    else:
        output.print_table(figures.COLUMNS, figures.cells(found))
        for one in report["skipped"]:
            output.say(f"skipped: {one['row']}: {one['reason']}")
        output.say(f"\nMeasured in {output.seconds(report['seconds'])}.")
    if record:
        speed.replace(record, "embedding", figures.table(report, found))


def search(
    large: Annotated[
        bool, typer.Option("--large", help="Measure 1,000,000 vectors too: 20 minutes and 10 GB more.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the tables into this file, e.g. docs/speed.md."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the vectors and who owns them.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure how complete and how fast searches are, on a stack of its own. Takes up to ten minutes."""
    from benchmarks import search_bench as bench
    from benchmarks import search_report, speed
    from cli.stacks.benchmark_stack import places

    if record:
        speed.around(record, "search")
    sizes = bench.Sizes(other=(10_000, 100_000, 1_000_000)) if large else bench.Sizes()
    command = (
        f"neural-search bench search{' --large' if large else ''}{f' --seed {seed}' if seed != 1 else ''}"
    )
    with places() as made, steps() as show:
        report = bench.measure(made, sizes, command, show, seed=seed)
    if as_json:
        output.print_json(report)
    else:
        for title, columns, rows in search_report.tables(report):
            output.say(f"\n{title}")
            output.print_table(columns, rows)
        output.say(f"\nMeasured in {output.seconds(report['seconds'])}.")
    if record:
        speed.replace(record, "search", search_report.markdown(report))


def queue(
    minutes: Annotated[float, typer.Option(min=0, help="How long the transaction stays open.")] = 5,
    backfill: Annotated[int, typer.Option(min=1, help="Images that are queued behind uploads.")] = 100_000,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the table into this file, e.g. docs/speed.md."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the queue beside a transaction that stays open, and uploads beside a backfill: ten minutes."""
    from benchmarks import figures, job_queue, speed
    from cli.stacks.benchmark_stack import database

    if record:
        speed.around(record, "queue")
    with database() as url:
        found, where = job_queue.measure(url, output.warn, minutes=minutes, backfill=backfill)
    if as_json:
        output.print_json({"measured": where, "figures": [figure.as_json() for figure in found]})
    else:
        output.print_table(figures.COLUMNS, figures.cells(found))
        output.say(f"\n{where}")
    if record:
        speed.replace(record, "queue", job_queue.markdown(found, where))


def mixture(
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there, not into benchmarks/.")
    ] = None,
) -> None:
    """Fit the vectors of `bench search` to the public set again, which npm fetches once."""
    from cli.commands.evaluate import need_the_extra

    need_the_extra()
    import numpy as np

    from benchmarks import mixture as fitted
    from evaluation.sources import emoji
    from shared import embedding, settings

    collection = emoji.collection(settings.load().embedding_cache / "npm")
    model, items = embedding.load(), collection.items
    batches = (items[start : start + BATCH] for start in range(0, len(items), BATCH))
    vectors = np.concatenate([model.embed_images([one.read() for one in batch]) for batch in batches])
    fitted.save(fitted.fit(vectors), file or fitted.FILE)
    output.say(f"Fitted to {len(vectors):,} images by {model.name}: {file or fitted.FILE}")
