"""How far the search is, for people: searchable images, the others with their causes, the time needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cli.console import output
from cli.console.output import count

COMING = ("due", "waiting", "running", "unrecorded")  # becomes searchable without anybody's doing
OVER = ("skipped", "failed")  # stays as it is until the image or something else is changed
STATES = ("failed", "skipped", "unrecorded", "waiting", "running", "due")  # the worst first

Row = dict[str, Any]


def show(report: Row) -> None:
    """Prints the answer of the database function `embedding_report`."""
    for line in headlines(report["backlog"]):
        output.say(line)
    if report["backlog"]:
        output.say()
        show_backlog(report["backlog"])
    if report["failures"]:
        output.say()
        show_failures(report["failures"])
    output.say()
    for line in (*_freshness(report["freshness"]), _reconciled(report["reconciled"])):
        output.say(line)
    if report["unindexed"]:
        names = ", ".join(report["unindexed"])
        output.say(f"Not indexed, so never searched: {names}. `neural-search buckets index NAME` adds one.")


def headlines(backlog: Sequence[Row]) -> list[str]:
    """Whether every image is searchable, in a line for each model."""
    if not backlog:
        return ["No bucket is indexed. `neural-search buckets index NAME` indexes one."]
    models = sorted({(row["model_state"], row["model"]) for row in backlog})  # the active one first
    lines = [_headline([row for row in backlog if row["model"] == model]) for _, model in models]
    if len(models) == 1:
        return lines
    return [f"{model} ({state}): {line}" for (state, model), line in zip(models, lines, strict=True)]


def _headline(rows: Sequence[Row]) -> str:
    objects, searchable = (sum(row[name] for row in rows) for name in ("objects", "searchable"))
    coming, over = (sum(row[state] for row in rows for state in states) for states in (COMING, OVER))
    if not objects:
        return "The indexed buckets are empty."
    if searchable == objects:
        return f"Every image is searchable: {searchable:,} of {objects:,}."
    parts = [f"{coming:,} still to come" if coming else "", f"{over:,} given up" if over else ""]
    missing = f"{objects - searchable:,} of {count(objects, 'image')}"
    return f"Not searchable: {missing} ({', '.join(filter(None, parts))})."


def show_backlog(backlog: Sequence[Row]) -> None:
    """One row per bucket and model; states that nothing is in are left out.

    Cut off: searchable by the part of the picture that the file has.
    """
    states = [state for state in (*COMING, *OVER) if any(row[state] for row in backlog)]
    cut_off = ["cut_off"] if any(row["cut_off"] for row in backlog) else []
    columns = ("bucket", "model", "images", "searchable", *("cut off" for _ in cut_off), *states, "oldest")
    rows = [
        (
            row["bucket_id"],
            row["model"],
            row["objects"],
            row["searchable"],
            *(row[name] for name in (*cut_off, *states)),
            "" if row["oldest_seconds"] is None else output.seconds(row["oldest_seconds"]),
        )
        for row in backlog
    ]
    output.print_table(columns, rows)


def show_failures(failures: Sequence[Row]) -> None:
    """The causes with how many images each has, the final ones first."""
    ordered = sorted(failures, key=lambda row: (STATES.index(row["state"]), -row["objects"]))
    rows = [
        (
            row["objects"],
            row["state"],
            row["error_class"],
            one_line(f"{row['bucket_id']}/{row['example_name']}: {row['example_message']}"),
        )
        for row in ordered
    ]
    output.print_table(("images", "state", "cause", "for example"), rows)


def _freshness(rows: Sequence[Row]) -> list[str]:
    return [
        f"From uploaded to searchable in the last 24 hours: p50 {output.seconds(row['p50_seconds'])}, "
        f"p95 {output.seconds(row['p95_seconds'])} ({count(row['documents'], 'image')}, {row['model']})"
        for row in rows
    ]


def _reconciled(last: Row | None) -> str:
    if last is None:
        return "Storage and index haven't been compared yet; the schedule does it every 5 minutes."
    repaired = {name: last[name] for name in ("missing", "stale", "orphaned") if last[name]}
    found = ", ".join(f"{number:,} {name}" for name, number in repaired.items())
    return f"Storage and index compared {output.seconds(age(last['at']))} ago: " + (
        f"repaired {found}" if found else "nothing to repair"
    )


def age(moment: str) -> float:
    """Seconds since a time as PostgREST writes it."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def one_line(text: str) -> str:
    return " ".join(text.split())
