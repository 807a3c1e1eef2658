"""`neural-search buckets`: which buckets there are, and which of them are searched."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client.project import Project
from cli.console import output
from cli.console.output import AsJson, count
from shared import settings
from shared.errors import RequestError

Name = Annotated[str, typer.Argument(metavar="NAME", help="The bucket's name.")]
SIGNED_IN = "auth.uid()"  # the caller, as Supabase's policies name them


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="List buckets; add one to the search, or take it out.")
    group.command("list")(list_buckets)
    group.command("index")(index)
    group.command("unindex")(unindex)
    app.add_typer(group, name="buckets")


def list_buckets(as_json: AsJson = False) -> None:
    """List every bucket: whether it is indexed, and how many of its images are searchable."""
    with Project(settings.load()) as project:
        rows = _rows(project)
    if as_json:
        output.print_json(rows)
    elif rows:
        output.print_table(
            ("bucket", "visibility", "indexed", "images", "searchable"), [_cells(row) for row in rows]
        )
    else:
        output.say("There is no bucket. Create one in the dashboard, under Storage.")


def index(
    name: Name,
    public_search: Annotated[
        bool, typer.Option("--public-search", help="Show a public bucket's images to everybody who searches.")
    ] = False,
    visible_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY[=SQL]",
            help="Declare by what callers see images, for faster searches: owner, folder or prefix, which is "
            "auth.uid() or this SQL expression.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a bucket's images searchable, those that are there and those to come.

    Indexed again without --public-search and --visible-by, a bucket has neither.
    """
    declared = {
        key: expression or SIGNED_IN
        for key, _, expression in (one.partition("=") for one in visible_by or [])
    }
    with Project(settings.load()) as project:
        project.require_bucket(name)
        queued = project.call_as(
            "secret_key",
            "index_bucket",
            bucket_id=name,
            public_search=public_search,
            visible_by=declared or None,
        )
        unproven = declared and not _active(project).get(name, {}).get("searchable")
    if as_json:
        output.print_json({"bucket": name, "queued": queued})
    else:
        output.say(f"Bucket {name}: indexed, {count(queued, 'image')} queued.")
        if unproven:
            output.say(
                "No image is searchable yet by which to compare what you declared with the policies: "
                "run `neural-search doctor` once some are."
            )


def unindex(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a bucket out of the search. Its images stay in Storage; their vectors are deleted."""
    with Project(settings.load()) as project:
        _require_indexed(project, name)
        if not yes:
            typer.confirm(f"Take the bucket {name} out of the search and delete its vectors?", abort=True)
        removed = project.call_as("secret_key", "unindex_bucket", bucket_id=name)
    if as_json:
        output.print_json({"bucket": name, "removed": removed})
    else:
        output.say(f"Bucket {name}: not indexed any more, {count(removed, 'vector')} deleted.")


def _rows(project: Project) -> list[dict[str, Any]]:
    backlog = _active(project)
    found = sorted(project.buckets(), key=lambda bucket: bucket.name)
    return [
        {
            "bucket": bucket.name,
            "public": bucket.public,
            "indexed": bucket.name in backlog,
            "images": backlog.get(bucket.name, {}).get("objects"),
            "searchable": backlog.get(bucket.name, {}).get("searchable"),
        }
        for bucket in found
    ]


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    visibility = "public" if row["public"] else "private"
    return (row["bucket"], visibility, "yes" if row["indexed"] else "no", row["images"], row["searchable"])


def _active(project: Project) -> dict[str, dict[str, Any]]:
    """The backlog of the active model, by bucket: every indexed bucket has one."""
    backlog = project.call_as("secret_key", "embedding_report")["backlog"]
    return {row["bucket_id"]: row for row in backlog if row["model_state"] == "active"}


def _require_indexed(project: Project, name: str) -> None:
    if name in _active(project):  # also where Storage has it no more
        return
    project.require_bucket(name)
    raise RequestError(
        f"The bucket {name!r} isn't indexed. `neural-search buckets list` shows which ones are."
    )
