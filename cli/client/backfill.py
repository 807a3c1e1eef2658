"""Queueing objects with neither an up-to-date vector nor a job, as the secret key."""

from __future__ import annotations

from typing import Any

from cli.client.project import Project
from cli.console import output

BATCH = 5000  # jobs for each call, which has to fit into the API's time-out
Place = dict[str, Any]  # bucket, name_prefix and decoder_before


def queue_all(project: Project) -> int:
    """Queues all that has neither an up-to-date vector nor a job; how many that were."""
    place: Place = {}
    return fill(project, count(project, place), place)


def count(project: Project, place: Place) -> int:
    found: int = project.call_as("secret_key", "backfill_documents", dry_run=True, **place)
    return found


def fill(project: Project, found: int, place: Place) -> int:
    """In bounded calls, each of which is a transaction: interrupted, it can be run again.

    No more than were found, since a worker that isn't upgraded yet leaves documents as old as they were.
    """
    queued = 0
    with output.progress("queued", total=found) as show:
        while queued < found and (
            added := project.call_as("secret_key", "backfill_documents", max_jobs=BATCH, **place)
        ):
            queued += added
            show("queued", queued)
    return queued
