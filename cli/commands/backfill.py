"""`neural-search backfill`: queue images without an up-to-date vector, as those before the installation."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import backfill as queue
from cli.client.project import Project
from cli.commands.jobs import InBucket, Prefix
from cli.console import output
from cli.console.output import AsJson
from shared import settings


def register(app: typer.Typer) -> None:
    app.command()(backfill)


def backfill(
    bucket: InBucket = None,
    prefix: Prefix = None,
    decoder_before: Annotated[
        int | None,
        typer.Option(help="Also what a decoder before this version may have got wrong; `doctor` names it."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue every image in the indexed buckets that has neither an up-to-date vector nor a job.

    Skipped and failed images have a job: `neural-search jobs retry` makes those due again. Images that are
    embedded anew stay searchable meanwhile.
    """
    place = {"bucket": bucket, "name_prefix": prefix, "decoder_before": decoder_before}
    with Project(settings.load()) as project:
        project.require_bucket(bucket)
        found = queue.count(project, place)
        queued = 0 if dry_run else queue.fill(project, found, place)
    if as_json:
        output.print_json({"found": found, "queued": queued, "dry_run": dry_run})
    elif dry_run:
        output.say(f"{output.count(found, 'image')} would be queued.")
    elif queued:
        output.say(
            f"{output.count(queued, 'image')} queued. `neural-search jobs` shows how far they are; "
            "`neural-search worker` lets this machine help."
        )
    else:
        output.say("Nothing to queue: each image has an up-to-date vector, or a job.")
