"""The comparison of two runs finds what is lost, there twice or other than it was."""

from __future__ import annotations

from typing import Any

import pytest
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
