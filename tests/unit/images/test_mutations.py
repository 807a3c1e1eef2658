"""Damaged files of every format: decoded or refused, and nothing else. `make soak` takes 10,000 of them."""

from __future__ import annotations

import pytest
from soak import mutations


def test_some_hundred_mutations_crash_nothing_and_raise_only_what_an_image_may(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome = mutations.run(400, seed=4)
    assert (outcome.operations, outcome.faults, outcome.evidence) == (400, 0, ())
    told = capsys.readouterr().out
    assert "'decoded'" in told and "'BrokenImage'" in told


def test_a_mutation_can_be_made_again() -> None:
    files = mutations.originals()
    made = [mutations.mutant(files, 1, number) for number in range(50)]
    assert made == [mutations.mutant(files, 1, number) for number in range(50)]
    assert len(set(made)) > 40 and not set(made) <= set(files)
