"""`neural-search jobs`: the work that waits, runs, was skipped or failed, with its cause."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli import output
from cli.output import AsJson, count
from cli.project import Project
from shared import settings

commands = typer.Typer(invoke_without_command=True)


class State(StrEnum):
    due = "due"
    waiting = "waiting"
    running = "running"
    skipped = "skipped"
    failed = "failed"


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="jobs")


@commands.callback()
def jobs(
    context: typer.Context,
    state: Annotated[State | None, typer.Option(help="Only work in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show the work that is due, waits for its turn, runs, was skipped or failed, with its cause."""
    if context.invoked_subcommand:
        return
    with Project(settings.load()) as project:
        rows = project.call_as(
            "secret_key", "list_embedding_jobs", job_state=state and state.value, max_rows=limit
        )
    if as_json:
        output.print_json(rows)
    elif rows:
        columns = ("state", "bucket", "name", "tries", "next try", "cause")
        output.print_table(columns, [_row(row) for row in rows])
    else:
        output.say(
            "No work waits, runs, was skipped or failed." if not state else f"No work is {state.value}."
        )


@commands.command()
def retry(
    bucket: Annotated[str | None, typer.Option(help="Only in this bucket.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only names that begin like this.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make skipped and failed work due again, with all its attempts."""
    with Project(settings.load()) as project:
        number = project.call_as("secret_key", "retry_embedding_jobs", bucket=bucket, name_prefix=prefix)
    if as_json:
        output.print_json({"retried": number})
    else:
        output.say(f"{count(number, 'image')} will be tried again.")


def _row(row: dict[str, Any]) -> tuple[Any, ...]:
    cause = ": ".join(part for part in (row["error_class"], row["error_message"]) if part)
    return (row["state"], row["bucket_id"], row["name"], row["attempts"], _when(row), cause)


def _when(row: dict[str, Any]) -> str:
    """When it is tried next, or its lease ends; nothing for what is over."""
    if row["state"] in ("skipped", "failed", "due") or not row["next_attempt_at"]:
        return ""
    wait = datetime.fromisoformat(row["next_attempt_at"]) - datetime.now(UTC)
    return f"in {output.seconds(max(0.0, wait.total_seconds()))}"
