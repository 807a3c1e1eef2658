"""What `jobs` and `doctor` make of the database's report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.checks import api
from cli.report import headlines
from shared.errors import DatabaseError


def bucket(*, model: str = "m", oldest: float | None = None, **states: int) -> dict[str, Any]:
    """A row of the backlog; `objects` are the sum of the states."""
    names = ("searchable", "due", "waiting", "running", "skipped", "failed", "unrecorded")
    counts = dict.fromkeys(names, 0) | states
    return {
        "bucket_id": "b",
        "model": model,
        "objects": sum(counts.values()),
        **counts,
        "oldest_seconds": oldest,
    }


@pytest.mark.parametrize(
    ("backlog", "lines"),
    [
        ([], ["No bucket is indexed. `neural-search install --bucket NAME` indexes one."]),
        ([bucket()], ["The indexed buckets are empty."]),
        ([bucket(searchable=2), bucket(searchable=1)], ["Every image is searchable: 3 of 3."]),
        (
            [bucket(searchable=1, due=1, waiting=1, running=1, unrecorded=1)],
            ["Not searchable: 4 of 5 images (4 still to come)."],
        ),
        (
            [bucket(searchable=1200, due=2, failed=3, skipped=4)],
            ["Not searchable: 9 of 1,209 images (2 still to come, 7 given up)."],
        ),
        (
            [bucket(searchable=1), bucket(model="n", due=1)],
            [
                "m: Every image is searchable: 1 of 1.",
                "n: Not searchable: 1 of 1 image (1 still to come).",
            ],
        ),
    ],
)
def test_a_line_for_each_model_says_whether_every_image_is_searchable(
    backlog: list[dict[str, Any]], lines: list[str]
):
    assert headlines(backlog) == lines


def test_work_that_nobody_begins_is_wrong():
    with pytest.raises(DatabaseError, match="nobody works on them"):
        api.queue(lambda: {"backlog": [bucket(due=3, oldest=3600.0)]})


@pytest.mark.parametrize(
    "state",
    [
        bucket(due=3, oldest=5.0),
        bucket(due=3, running=1, oldest=3600.0),
        bucket(waiting=3, oldest=3600.0),
        bucket(searchable=1),
    ],
)
def test_work_that_goes_on_or_has_to_wait_is_in_order(state: dict[str, Any]):
    assert "due" in api.queue(lambda: {"backlog": [state]})


def test_a_reconciliation_that_has_stopped_is_wrong():
    with pytest.raises(DatabaseError, match="neural-search backfill"):
        api.reconciliation(lambda: {"reconciled": {"at": ago(minutes=16)}})
    assert "ran" in api.reconciliation(lambda: {"reconciled": {"at": ago(minutes=4)}})
    assert "scheduled" in api.reconciliation(lambda: {"reconciled": None})


def ago(**duration: int) -> str:
    return (datetime.now(UTC) - timedelta(**duration)).isoformat()
