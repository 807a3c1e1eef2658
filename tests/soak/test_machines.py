"""Two runs are compared: rows lost, there twice or other than they were. A kill that fails ends the run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from soak import machines
from soak.machines import compare


def row(name: str, **other: Any) -> dict[str, object]:
    return {"key": f"{name} model", "content": name, "object_version": "v1", "embedding": "d41d8cd9"} | other


BEFORE = [row("a.jpg"), row("b.jpg")]


@pytest.mark.parametrize(
    ("after", "counts"),
    [
        ([row("b.jpg"), row("a.jpg")], (0, 0, 0)),
        ([row("a.jpg")], (1, 0, 0)),
        ([*BEFORE, row("b.jpg")], (0, 1, 0)),
        ([*BEFORE, row("c.jpg")], (0, 1, 0)),
        ([row("a.jpg"), row("b.jpg", embedding="0")], (0, 0, 1)),
        ([row("a.jpg"), row("b.jpg", object_version="v0", embedding="0")], (0, 0, 2)),
    ],
)
def test_runs_are_compared_row_by_row(after: list[dict[str, object]], counts: tuple[int, int, int]):
    assert tuple(map(len, compare(BEFORE, after))) == counts


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machines, "SETTLES_WITHIN", 0.05)
    monkeypatch.setattr(machines, "LOOK_EVERY", 0.0)


@pytest.mark.parametrize(
    ("documents", "expected"), [(0, r"expected \d+ documents"), (1000, "expected a worker to kill")]
)
def test_a_kill_that_does_not_come_about_ends_the_run(briefly, documents: int, expected: str):
    bucket: Any = SimpleNamespace(documents=lambda: documents)
    with pytest.raises(AssertionError, match=expected):
        machines._disturb(bucket, {"worker": lambda _: False, "postgres": lambda _: False}, 1000, 1)


def test_a_process_that_ended_before_it_was_killed_is_looked_for_again():
    found = iter([ProcessLookupError(), True])

    def kill() -> bool:
        if isinstance(answer := next(found), Exception):
            raise answer
        return answer

    assert machines._wait(kill, "a worker to kill") >= 0
