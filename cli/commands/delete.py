"""`neural-search delete`: objects out of a bucket, and with that out of the search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING, Annotated

import typer

from cli.client.project import Project, storage_errors
from cli.console import output
from cli.console.output import AsJson, count, in_one_line
from shared import settings
from shared.errors import RequestError
from shared.supabase import bucket_walk

if TYPE_CHECKING:
    from storage3._sync.file_api import SyncBucketProxy

AT_ONCE = 1000  # names; Storage takes no more in one request
FEW = 50  # names in a folder, for each of which one request is less than listing a large folder


def register(app: typer.Typer) -> None:
    app.command()(delete)


def delete(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="Paths in the bucket; `folder/` means all below it."),
    ],
    bucket: Annotated[str, typer.Option(help="The bucket to delete from.")] = "images",
    everything: Annotated[
        bool, typer.Option("--everything", help="Let `/` mean all that is in the bucket.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete images from Storage, for good; they leave the search in the same moment.

    Exit status 1 where a name wasn't there, or isn't yours to delete.
    """
    _check(names, bucket, everything)
    with Project(settings.load()) as project:
        project.require_bucket(bucket)
        remote = project.storage.storage.from_(bucket)
        wanted, folders = _wanted(remote, names)
        there = [name for name, is_there in wanted.items() if is_there]
        if there and not yes:
            typer.confirm(f"Delete {count(len(there), 'object')} from the bucket {bucket}?", abort=True)
        deleted = _deleted(remote, there)
    missing = [name for name in wanted if name not in deleted]
    if as_json:
        output.print_json({"deleted": sorted(deleted), "not_deleted": missing})
    else:
        _report(len(deleted), missing, folders)
    if missing:
        raise typer.Exit(1)


def _check(names: Sequence[str], bucket: str, everything: bool) -> None:
    """An empty variable makes `/` of "$FOLDER/"."""
    whole = [name for name in names if not name.strip("/")]
    if whole and not (everything and all(whole)):
        raise RequestError(
            f"{whole[0]!r} names no folder, but all of the bucket {bucket!r}: was a variable empty? "
            "`neural-search delete / --everything` deletes all that is in it."
        )


def _report(deleted: int, missing: Sequence[str], folders: set[str]) -> None:
    output.say(f"Deleted: {count(deleted, 'object')}")
    if missing:
        output.warn(f"Not deleted, not there or not yours to delete: {count(len(missing), 'object')}")
    for name in missing:
        shown = in_one_line(name)
        output.warn(f"  {shown}" + (f" (a folder. Did you mean '{shown}/'?)" if name in folders else ""))


def _wanted(remote: SyncBucketProxy, names: Sequence[str]) -> tuple[dict[str, bool], set[str]]:
    """Of each object that is meant, whether it is there; and those of the names that are folders."""
    plain = [name for name in names if not name.endswith("/")]
    files, folders = _found(remote, plain)
    wanted = {name: name in files for name in plain}
    for name in names:
        if name.endswith("/"):
            wanted |= dict.fromkeys(_below(remote, name), True)
    return wanted, folders


def _found(remote: SyncBucketProxy, names: Sequence[str]) -> tuple[set[str], set[str]]:
    """Those of the names that are objects, and those that are folders, by listing where they are."""
    files: set[str] = set()
    folders: set[str] = set()
    for folder, group in groupby(sorted(names, key=_split), lambda name: _split(name)[0]):
        together = set(group)
        beginnings = [_split(name)[1] for name in together] if len(together) <= FEW else [""]
        entries = chain.from_iterable(bucket_walk.entries(_lister(remote, one), folder) for one in beginnings)
        for path, entry in entries:
            name, kind = (path, files) if entry["id"] else (path.removesuffix("/"), folders)
            if name in together:
                kind.add(name)
    return files, folders


def _split(name: str) -> tuple[str, str]:
    """The folder, with its slash, and the last part of a path."""
    folder, slash, last = name.rpartition("/")
    return folder + slash, last


def _below(remote: SyncBucketProxy, name: str) -> list[str]:
    """Every object below a folder, whose name is taken as it stands: `a//` is one below `a/`."""
    walked = bucket_walk.walk(_lister(remote), "" if name == "/" else name)
    below = [path for path, entry in walked if entry["id"]]
    if not below:
        raise RequestError(f"There is nothing in the folder {name!r}, or nothing that this key may see.")
    return below


def _lister(remote: SyncBucketProxy, beginning: str = "") -> bucket_walk.ListFolder:
    """Lists a folder's entries that begin so."""

    def list_folder(folder: str, *, limit: int, offset: int) -> list[bucket_walk.Entry]:
        with storage_errors():
            return remote.list(folder, {"limit": limit, "offset": offset, "search": beginning})

    return list_folder


def _deleted(remote: SyncBucketProxy, names: Sequence[str]) -> set[str]:
    """Those of `names` that Storage deleted."""
    deleted: set[str] = set()
    for start in range(0, len(names), AT_ONCE):
        with storage_errors():
            deleted.update(entry["name"] for entry in remote.remove(list(names[start : start + AT_ONCE])))
    return deleted
