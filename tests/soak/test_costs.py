"""Refusals are judged by the cost of reading on the same machine, in the same run."""

from __future__ import annotations

import json

import pytest
from soak.costs import TEXTS, Cost, refusals
from soak.processes import Use
from support.hostile_bodies import BODIES, BYTES, MB, READ

from shared.search.query import from_json

DEAR = "depth"
READING, REFUSING = 0.09, 0.4  # CPU seconds


@pytest.mark.parametrize(
    ("slowness", "of_the_dear", "violations"),
    [(1, REFUSING, 0), (10, REFUSING, 0), (1, 0.6, 1), (10, 0.6, 1), (0.1, REFUSING, 0)],
)
def test_a_slow_machine_is_no_violation_and_a_dear_body_is_one(
    slowness: float, of_the_dear: float, violations: int
):
    def refuse(kind: str) -> tuple[Cost, int]:
        seconds = {READ: READING, DEAR: of_the_dear}.get(kind, REFUSING) * slowness
        return Cost("anybody", kind, 422, Use(cpu_seconds=seconds), Use()), MB

    [dearest, _], evidence = refusals(refuse)
    assert len(evidence) == violations
    assert all(f"| {DEAR} |" in line for line in evidence)
    assert dearest.function.cpu_seconds == max(of_the_dear, REFUSING) * slowness


@pytest.mark.parametrize(("use", "violations"), [(BYTES + 4 * MB, 0), (BYTES + 4 * MB + 1, len(BODIES))])
def test_memory_is_bounded_whatever_the_machine(use: int, violations: int):
    _, evidence = refusals(lambda kind: (Cost("anybody", kind, 422, Use(bytes=use), Use()), MB))
    assert len(evidence) == violations


def test_one_refusal_of_several_within_the_bounds_is_enough():
    seconds = {kind: iter([9.0, 9.0, 0.1]) for kind in BODIES if kind != READ}

    def refuse(kind: str) -> tuple[Cost, int]:
        used = next(seconds[kind]) if kind in seconds else READING
        return Cost("anybody", kind, 422, Use(cpu_seconds=used), Use()), MB

    assert refusals(refuse)[1] == []


def test_the_dearest_texts_are_taken_and_fill_the_model():
    assert len(from_json(json.dumps({"text": TEXTS}).encode()).like) == 32
    assert all(len(text.split()) > 256 for text in TEXTS)
