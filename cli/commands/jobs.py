"""`neural-search jobs`: is every image searchable, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain, islice
from typing import Annotated, Any

import typer

from cli.client.project import Project
from cli.console import indexing_report, output
from cli.console.output import AsJson, count
from shared import settings

Row = dict[str, Any]

PAGE = 1000  # rows; hosted Supabase answers with no more than that
SHOWN = 20  # rows on a terminal, where nothing else is asked for

commands = typer.Typer(invoke_without_command=True)

InBucket = Annotated[str | None, typer.Option("--bucket", help="Only in this bucket.")]
Prefix = Annotated[str | None, typer.Option("--prefix", help="Only names that begin like this.")]


class State(StrEnum):
    due = "due"
    waiting = "waiting"
    running = "running"
    skipped = "skipped"
    failed = "failed"
    unrecorded = "unrecorded"


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="jobs")


@commands.callback()
def jobs(
    context: typer.Context,
    state: Annotated[State | None, typer.Option(help="Only images in this state.")] = None,
    bucket: InBucket = None,
    prefix: Prefix = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"How many images at most ({SHOWN}; with --json all).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far each bucket is, and of each image that isn't searchable why.

    Due: to be embedded now. Waiting: failed, and will be tried again. Running: being embedded. Skipped: will
    never have a vector. Failed: given up after some attempts (a dead letter). Unrecorded: the database noted
    no work for it; reconciling finds it within 5 minutes, `neural-search backfill` at once.
    """
    if context.invoked_subcommand:
        return
    place = {"bucket": bucket, "name_prefix": prefix}
    with Project(settings.load()) as project:
        project.require_bucket(bucket)
        found = project.call_as("secret_key", "embedding_report")
        if as_json:
            listed = _listed(project, limit, job_state=state and state.value, **place)
            output.print_json({"report": found, "jobs": list(listed)})
            return
        everything = not (state or bucket or prefix)
        if everything:
            indexing_report.show(found)
        states = [state.value] if state else _in_use(found["backlog"])
        shown = limit or SHOWN
        pages = (_listed(project, shown + 1, job_state=one, **place) for one in states)
        rows = list(islice(chain.from_iterable(pages), shown + 1))
    if rows:
        _show(rows, shown)
    elif not everything:
        output.say("There is no such image that isn't searchable.")


@commands.command()
def retry(
    bucket: InBucket = None,
    prefix: Prefix = None,
    cause: Annotated[
        list[str] | None, typer.Option(help="Only what has this cause, as BrokenImage. Repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make skipped and failed work due again, with all its attempts."""
    chosen = {"bucket": bucket, "name_prefix": prefix, "causes": cause or None}
    with Project(settings.load()) as project:
        project.require_bucket(bucket)
        number = project.call_as("secret_key", "retry_embedding_jobs", **chosen)
    if as_json:
        output.print_json({"retried": number})
    else:
        output.say(f"{count(number, 'image')} will be tried again.")


def _in_use(backlog: list[Row]) -> list[str]:
    """The states that there are images in, the worst first."""
    return [state for state in indexing_report.STATES if any(row[state] for row in backlog)]


def _listed(project: Project, most: int | None, **chosen: str | None) -> Iterator[Row]:
    """Images that aren't searchable, all of them or `most`. Read by key, so that none is missed or told
    twice, however much changes meanwhile."""
    left = most
    after: dict[str, str] = {}
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        rows = project.call_as("secret_key", "list_embedding_jobs", max_rows=size, **chosen, **after)
        if not rows:  # a short page isn't the last one: the API may answer with fewer rows than asked for
            return
        yield from rows
        left = None if left is None else left - len(rows)
        after = {"after_object_id": rows[-1]["object_id"], "after_model": rows[-1]["model"]}


def _show(rows: list[Row], most: int) -> None:
    output.say()
    columns = ("state", "image", "tries", "next try", "queued", "cause")
    output.print_table(columns, [_row(row) for row in rows[:most]])
    if len(rows) > most:
        output.say("… and more: --limit shows them, --json all of them.")


def _row(row: Row) -> tuple[Any, ...]:
    cause = indexing_report.one_line(
        ": ".join(part for part in (row["error_class"], row["error_message"]) if part)
    )
    queued = f"{output.seconds(indexing_report.age(row['queued_at']))} ago" if row["queued_at"] else ""
    image = f"{row['bucket_id']}/{row['name']}"
    return (row["state"], image, row["attempts"], _when(row), queued, cause)


def _when(row: Row) -> str:
    """When it is tried next, or its lease ends; nothing for a job that is over or hasn't begun."""
    if row["state"] not in ("waiting", "running"):
        return ""
    wait = datetime.fromisoformat(row["next_attempt_at"]) - datetime.now(UTC)
    return f"in {output.seconds(max(0.0, wait.total_seconds()))}"
