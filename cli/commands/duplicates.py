"""`neural-search duplicates`: which images are copies of each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

import typer

from cli.client.project import Project
from cli.console import output
from cli.console.output import AsJson, count
from shared import settings

Row = dict[str, Any]

PAGE = 1000  # rows; hosted Supabase answers with no more than that
AT_ONCE = 1000  # pairs


def register(app: typer.Typer) -> None:
    app.command()(duplicates)


def duplicates(
    bucket: Annotated[str | None, typer.Option(help="Only in this bucket (default: in all).")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only names that begin like this.")] = None,
    as_json: AsJson = False,
) -> None:
    """List images that are copies of each other: the same bytes, resized, recompressed or in another format.

    Mirrored, turned and clearly cropped versions count as other images. The largest of a group comes first.
    """
    with Project(settings.load()) as project:
        project.require_bucket(bucket)
        rows = _fingerprints(project, bucket, prefix)
        groups = _groups(project, rows)
    if as_json:
        output.print_json({"images": len(rows), "groups": groups})
    else:
        _show(len(rows), groups)


def _fingerprints(project: Project, bucket: str | None, prefix: str | None) -> list[Row]:
    """Every searchable image's, read by key: none is missed or told twice through changes meanwhile."""
    rows: list[Row] = []
    last = 0
    with _counting("Images") as show:
        while page := project.call(
            "list_fingerprints", bucket=bucket, name_prefix=prefix, after_id=last, max_rows=PAGE
        ):
            last = page[-1]["id"]
            rows += (row for row in page if row["content"] is not None)  # else it only says where to go on
            show(len(rows))
    return rows


def _groups(project: Project, rows: list[Row]) -> list[list[Row]]:
    """The rows of each group, the largest picture first; the database confirms each."""
    from shared.search.duplicate_pairs import Groups, pairs  # with numpy, which other commands start without

    found = Groups()
    waiting = pairs(rows, found)
    with _counting("Pairs") as show:
        done = 0
        while some := list(islice(waiting, AT_ONCE)):
            asked = [pair for pair in some if not found.joined(*pair)]
            for pair in _confirmed(project, asked):
                found.join(*pair)
            done += len(some)
            show(done)
    return _sorted({row["id"]: row for row in rows}, found.all())


def _confirmed(project: Project, asked: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The copies among the pairs. They come in order, and the API may cut them short: pairs behind the last
    one are asked for again."""
    while asked:
        firsts, seconds = zip(*asked, strict=True)
        rows = project.call("confirm_duplicates", first_ids=list(firsts), second_ids=list(seconds))
        if not rows:
            return
        found = [(row["first_id"], row["second_id"]) for row in rows]
        yield from found
        asked = [pair for pair in asked if pair > found[-1]]


def _sorted(rows: dict[int, Row], groups: Iterable[list[int]]) -> list[list[Row]]:
    found = [sorted((rows[one] for one in group), key=_size, reverse=True) for group in groups]
    return sorted(found, key=lambda group: (group[0]["bucket_id"], group[0]["content"]))


def _size(row: Row) -> tuple[int, int, int]:
    return (row["width"] or 0) * (row["height"] or 0), row["byte_size"] or 0, -row["id"]


def _show(images: int, groups: list[list[Row]]) -> None:
    if not images:
        output.say("There is no searchable image here. `neural-search jobs` shows what is still to be done.")
        return
    if not groups:
        output.say(f"Among {count(images, 'image')} none is a copy of another.")
        return
    copies = sum(len(group) - 1 for group in groups)
    output.say(
        f"Among {count(images, 'image')}: {count(len(groups), 'group')} of copies; "
        f"{count(copies, 'image')} could be spared ({_megabytes(groups)})."
    )
    rows = [
        ("" if place else number, f"{row['bucket_id']}/{row['content']}", *_described(row))
        for number, group in enumerate(groups, 1)
        for place, row in enumerate(group)
    ]
    output.say()
    output.print_table(("group", "image", "pixels", "type", "bytes"), rows)


def _described(row: Row) -> Iterable[Any]:
    pixels = f"{row['width']} x {row['height']}" if row["width"] else ""
    return pixels, row["mime_type"], "" if row["byte_size"] is None else f"{row['byte_size']:,}"


def _megabytes(groups: list[list[Row]]) -> str:
    spare = sum(row["byte_size"] or 0 for group in groups for row in group[1:])
    return f"{spare / 1e6:,.1f} MB"


@contextmanager
def _counting(label: str) -> Iterator[Any]:
    """The progress so far, where nobody knows of how many."""
    with output.progress(label, total=None) as show:
        yield lambda done: show(label, done)
