"""Two models side by side on the same images, small enough to be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cli.models import model_comparison
from cli.models.stored_vectors import Sample
from evaluation import comparison
from evaluation.comparison import Vectors


def circle(*degrees: float) -> Vectors:
    """A unit vector for each angle: close ones are similar."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_the_nearest_are_the_others_best_first():
    assert comparison.nearest(circle(0, 10, 30, 100)).tolist() == [[1, 2, 3], [0, 2, 3], [1, 0, 3], [2, 1, 0]]


def test_of_many_images_the_ten_nearest_count():
    found = comparison.nearest(circle(*range(0, 60, 3)))
    assert found.shape == (20, 10) and found[0].tolist() == list(range(1, 11))


def test_overlap_is_the_share_of_neighbours_that_both_have_in_any_order():
    one, other = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[2, 1], [4, 9], [7, 8]])
    assert comparison.overlaps(one, other).tolist() == [1.0, 0.5, 0.0]


def test_the_same_vectors_turned_around_have_the_same_neighbours():
    one, turned = circle(0, 10, 30, 100), circle(90, 100, 120, 190)
    overlap = comparison.overlaps(comparison.nearest(one), comparison.nearest(turned))
    assert comparison.figure(overlap) == comparison.Figure(value=1.0, low=1.0, high=1.0)


def test_images_of_the_same_folder_are_right_answers():
    keys, labels = ("a", "b", "c", "d", "e"), ("x", "x", "y", "y", None)
    good = comparison.quality(keys, labels, circle(0, 5, 90, 95, 180))
    assert good["mAP"].tolist() == [1.0] * 4  # e lies in no folder and isn't searched either
    bad = comparison.quality(keys, labels, circle(0, 90, 5, 95, 180))
    assert bad["mAP"].tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 3, 1 / 2])  # a: c, then b


def test_without_folders_nothing_is_said_of_quality():
    assert comparison.quality(("a", "b"), (None, None), circle(0, 90)) == {}
    assert comparison.quality(("a", "b"), ("x", "y"), circle(0, 90)) == {}


@pytest.fixture
def sample() -> Sample:
    return Sample(
        keys=("b/x/1", "b/x/2", "b/y/3", "b/y/4"),
        labels=("b/x", "b/x", "b/y", "b/y"),
        vectors=(circle(0, 5, 90, 95), circle(0, 90, 5, 95)),
        of=9,
    )


def test_a_comparison_has_overlap_quality_difference_and_examples(sample: Sample):
    found = model_comparison.compared(sample, ("old", "new"))
    assert (found["images"], found["of"], found["depth"]) == (4, 9, 3)
    assert found["overlap"]["value"] == 1.0  # of four images all others are the nearest three
    assert found["quality"]["models"]["old"]["mAP"]["value"] == 1.0
    difference = found["quality"]["difference"]["mAP"]
    assert difference["value"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1 / 2) / 4 - 1)
    assert difference["low"] < difference["value"] < difference["high"]
    assert found["examples"][0]["results"] == {
        "old": ["b/x/2", "b/y/3", "b/y/4"],
        "new": ["b/y/3", "b/x/2", "b/y/4"],
    }


def test_a_comparison_is_shown_for_people(sample: Sample, capsys: pytest.CaptureFixture[str]):
    model_comparison.show(model_comparison.compared(sample, ("old", "new")))
    shown = capsys.readouterr().out
    assert "4 images of 9 that both old and new have" in shown and "(overlap@3)" in shown
    assert (
        "difference" in shown and "-0.583 (-0.667 to -0.500)" in shown and "new: b/y/3, b/x/2, b/y/4" in shown
    )
