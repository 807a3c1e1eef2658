"""`neural-search delete`: objects out of a bucket, and with that out of the search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.client.project import Project, storage_errors
from cli.console import output
from cli.console.output import AsJson, count
from shared import settings
from shared.errors import RequestError

if TYPE_CHECKING:
    from storage3._sync.file_api import SyncBucketProxy

AT_ONCE = 1000  # names; Storage takes no more in one request
PAGE = 1000  # entries of a folder


def register(app: typer.Typer) -> None:
    app.command()(delete)


def delete(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="Paths in the bucket; `folder/` means all below it."),
    ],
    bucket: Annotated[str, typer.Option(help="The bucket to delete from.")] = "images",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete images from Storage, for good; they leave the search in the same moment.

    Exit status 1 where a name wasn't there, or isn't yours to delete.
    """
    with Project(settings.load()) as project:
        project.require_bucket(bucket)
        remote = project.storage.storage.from_(bucket)
        wanted = list(dict.fromkeys(found for name in names for found in _expanded(remote, name)))
        if not yes:
            typer.confirm(f"Delete {count(len(wanted), 'object')} from the bucket {bucket}?", abort=True)
        deleted = _deleted(remote, wanted)
    missing = [name for name in wanted if name not in deleted]
    if as_json:
        output.print_json({"deleted": sorted(deleted), "not_deleted": missing})
    else:
        _report(len(deleted), missing)
    if missing:
        raise typer.Exit(1)


def _report(deleted: int, missing: Sequence[str]) -> None:
    output.say(f"Deleted: {count(deleted, 'object')}")
    if missing:
        output.warn(f"Not deleted, not there or not yours to delete: {count(len(missing), 'object')}")
    for name in missing:
        output.warn(f"  {name}")


def _expanded(remote: SyncBucketProxy, name: str) -> Iterator[str]:
    """The name itself, or every object below a folder."""
    if not name.endswith("/"):
        yield name
        return
    below = list(_below(remote, name.strip("/")))
    if not below:
        raise RequestError(f"There is nothing in the folder {name!r}, or nothing that this key may see.")
    yield from below


def _below(remote: SyncBucketProxy, folder: str) -> Iterator[str]:
    offset = 0
    while True:
        with storage_errors():
            page = remote.list(folder, {"limit": PAGE, "offset": offset})
        for entry in page:
            path = f"{folder}/{entry['name']}" if folder else entry["name"]
            if entry["id"]:
                yield path
            else:  # a folder
                yield from _below(remote, path)
        if len(page) < PAGE:
            return
        offset += PAGE


def _deleted(remote: SyncBucketProxy, names: Sequence[str]) -> set[str]:
    """Those of `names` that Storage deleted."""
    deleted: set[str] = set()
    for start in range(0, len(names), AT_ONCE):
        with storage_errors():
            deleted.update(entry["name"] for entry in remote.remove(list(names[start : start + AT_ONCE])))
    return deleted
