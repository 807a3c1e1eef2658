"""`neural-search upload`: files and folders into a bucket."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from cli.app import INTERRUPTED
from cli.client.local_files import LocalFile, find_files
from cli.client.project import Project
from cli.client.transfer import Report, Watch, transfer
from cli.console import output
from cli.console.output import AsJson, count, in_one_line
from shared import settings
from shared.errors import RequestError


def register(app: typer.Typer) -> None:
    app.command()(upload)


def upload(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="Files, or folders with their images.")
    ],
    bucket: Annotated[str, typer.Option(help="The bucket to upload to.")] = "images",
    prefix: Annotated[str, typer.Option(help="A folder in the bucket to put them in.")] = "",
    upsert: Annotated[bool, typer.Option("--upsert", help="Replace what has other bytes there.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Upload also what is no image by its name and its first bytes.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all of them are searchable.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload images. Those that are there with the same bytes are left alone, so it can be repeated.

    A lost connection is waited for, two minutes long. A name that Storage doesn't take is spelt in plain
    letters, and the new name is shown.
    """
    files, left_out = find_files(paths, prefix, everything=everything)
    told = _left_out(left_out)
    if not files:
        raise RequestError(
            " ".join(
                [
                    f"There are no images in {', '.join(map(str, paths))}.",
                    *told,
                    "Name other files or folders.",
                ]
            )
        )
    for line in [] if as_json else told:
        output.say(line)
    renamed = [file for file in files if file.path.name != file.name.rsplit("/", 1)[-1]]
    for file in [] if as_json else renamed:
        output.say(f"Storage takes no such name: {in_one_line(file.path.name)} is stored as {file.name}")
    report, started = Report(), time.monotonic()
    try:
        with Project(settings.load()) as project:
            project.require_bucket(bucket)
            run(project, bucket, files, report, upsert=upsert, wait=wait)
    except KeyboardInterrupt:
        output.warn(f"Interrupted: {len(report.uploaded)} uploaded. The same command goes on from there.")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        output.print_json(_as_json(report, time.monotonic() - started))
    else:
        print_report(report, time.monotonic() - started, waited=wait)
    if report.refused or report.unsearchable:
        raise typer.Exit(1)


def _left_out(files: list[Path]) -> list[str]:
    """Which, and how to upload them all the same."""
    links = [file for file in files if file.is_symlink()]
    others = [file for file in files if not file.is_symlink()]
    kinds = (
        (others, "no images", "--all uploads any file of the folder."),
        (links, "links out of the folder", "`cp -RL` makes a copy with the files that they lead to."),
    )
    return [
        f"Left out, as {kind}: {count(len(some), 'file')}, such as {in_one_line(some[0].name)}. {remedy}"
        for some, kind, remedy in kinds
        if some
    ]


def run(
    project: Project, bucket: str, files: list[LocalFile], report: Report, *, upsert: bool, wait: bool
) -> None:
    """`transfer` with progress bars."""
    labels = ("uploading", "searchable") if wait else ("uploading",)
    watch = Watch(project, bucket, report) if wait else None
    with output.progress(*labels, total=len(files)) as show:
        transfer(project, bucket, files, report, upsert=upsert, watch=watch, show=show)


def print_report(report: Report, seconds: float, *, waited: bool) -> None:
    already = f", {len(report.unchanged):,} already there" if report.unchanged else ""
    output.say(f"Uploaded: {count(len(report.uploaded), 'file')}{already} ({output.seconds(seconds)})")
    if waited:
        output.say(f"Searchable: {count(len(report.searchable), 'image')}")
    print_failures("Not uploaded", report.refused)
    print_failures("Not searchable", report.unsearchable)


def print_failures(title: str, failures: dict[str, str]) -> None:
    """A line for each reason, however many files share it."""
    if failures:
        output.warn(f"{title}: {count(len(failures), 'file')}")
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in sorted(failures.items()):
        by_reason[reason].append(name)
    for reason, names in by_reason.items():
        others = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        output.warn(f"  {in_one_line(names[0])}{others}: {reason}")


def _as_json(report: Report, seconds: float) -> dict[str, object]:
    return {
        "uploaded": sorted(report.uploaded),
        "unchanged": sorted(report.unchanged),
        "not_uploaded": report.refused,
        "searchable": sorted(report.searchable),
        "not_searchable": report.unsearchable,
        "seconds": round(seconds, 3),
    }
