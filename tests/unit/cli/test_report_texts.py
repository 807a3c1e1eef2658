"""The database's report in the words of `jobs` and `doctor`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.checks import api
from cli.console.indexing_report import headlines, show_backlog
from shared.errors import DatabaseError


def bucket(model: str = "m", model_state: str = "active", cut_off: int = 0, **states: int) -> dict[str, Any]:
    """A row of the backlog; `objects` are the sum of the states."""
    names = ("searchable", "due", "waiting", "running", "skipped", "failed", "unrecorded")
    counts = dict.fromkeys(names, 0) | states
    about = {"bucket_id": "b", "model": model, "model_state": model_state}
    return {**about, "objects": sum(counts.values()), **counts, "cut_off": cut_off, "oldest_seconds": None}


@pytest.mark.parametrize(
    ("backlog", "lines"),
    [
        ([], ["No bucket is indexed. `neural-search buckets index NAME` indexes one."]),
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
            [bucket("l", "standby", due=1), bucket(searchable=1)],
            [
                "m (active): Every image is searchable: 1 of 1.",
                "l (standby): Not searchable: 1 of 1 image (1 still to come).",
            ],
        ),
    ],
)
def test_a_line_for_each_model_says_whether_every_image_is_searchable(
    backlog: list[dict[str, Any]], lines: list[str]
):
    assert headlines(backlog) == lines


def test_images_that_are_cut_off_are_counted_where_there_are_some(capsys: pytest.CaptureFixture[str]):
    show_backlog([bucket(searchable=3, cut_off=2)])
    head, row = (line.split() for line in capsys.readouterr().out.strip().splitlines())
    assert head == ["bucket", "model", "images", "searchable", "cut", "off", "oldest"]
    assert row == ["b", "m", "3", "3", "2"]
    show_backlog([bucket(searchable=3)])
    assert "cut off" not in capsys.readouterr().out


def queue(backlog: dict[str, Any], *, due_since: str) -> str:
    return api.queue(lambda: {"backlog": [backlog]}, lambda: [{"next_attempt_at": due_since}])


def test_work_that_nobody_begins_is_wrong():
    with pytest.raises(DatabaseError, match="nobody works on them"):
        queue(bucket(due=3), due_since=ago(minutes=60))


def test_work_that_goes_on_or_has_just_become_due_is_in_order():
    assert "3 due, 0 being" in queue(bucket(due=3), due_since=ago(minutes=1))
    assert "3 due, 1 being" in queue(bucket(due=3, running=1), due_since=ago(minutes=60))
    assert "2 given up" in queue(bucket(searchable=1, failed=1, skipped=1), due_since=ago(minutes=60))


def ago(**duration: int) -> str:
    return (datetime.now(UTC) - timedelta(**duration)).isoformat()
