"""The edits of copy detection."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from evaluation import edits
from evaluation.edits import EDITS
from shared.settings import CHECKOUT

ISSUES = {"crop", "resize", "recompress", "blur", "colour", "rotate", "flip", "overlay"}


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    return Image.open(CHECKOUT / "examples/images/animals/cat.jpg").convert("RGB")


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def test_there_are_eight_edits():
    assert set(EDITS) == ISSUES


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_the_same_whenever_it_is_made(edit: str, photograph: Image.Image):
    first, again = (edits.edited(photograph, edit, "cat.jpg", 1) for _ in range(2))
    assert edits.png(first) == edits.png(again)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_the_picture_and_leaves_the_original(edit: str, photograph: Image.Image):
    before = photograph.copy()
    changed = edits.edited(photograph, edit, "cat.jpg", 1)
    assert changed.mode == "RGB"
    assert changed.size != photograph.size or np.abs(pixels(changed) - pixels(photograph)).max() > 0
    assert np.array_equal(pixels(photograph), pixels(before))


@pytest.mark.parametrize("edit", ["crop", "colour", "rotate", "overlay"])
def test_what_is_drawn_differs_by_image_and_seed(edit: str, photograph: Image.Image):
    made = {edits.png(edits.edited(photograph, edit, key, seed)) for key in "abcd" for seed in (1, 2)}
    assert len(made) > 2


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 2)])
def test_an_edit_works_on_the_smallest_pictures(edit: str, size: tuple[int, int]):
    assert min(edits.edited(Image.new("RGB", size, "red"), edit, "a", 1).size) >= 1


def test_a_large_picture_is_edited_at_the_working_size():
    assert edits.edited(Image.new("RGB", (3000, 1024)), "flip", "a", 1).size == (1500, 512)
    assert edits.edited(Image.new("RGB", (300, 100)), "flip", "a", 1).size == (300, 100)


def test_the_strengths_are_those_documented(photograph: Image.Image):
    made = {edit: edits.edited(photograph, edit, "cat.jpg", 1) for edit in EDITS}
    area = photograph.width * photograph.height
    assert made["crop"].width * made["crop"].height == pytest.approx(area / 2, rel=0.01)
    assert made["resize"].size == tuple(round(side / 4) for side in photograph.size)
    assert np.array_equal(pixels(made["flip"]), pixels(photograph)[:, ::-1])
    covered = (pixels(made["overlay"]) != pixels(photograph)).any(axis=2).mean()
    assert covered == pytest.approx(0.2, abs=0.01)
    assert made["rotate"].width > photograph.width and made["rotate"].height > photograph.height


def test_a_file_of_an_edit_loses_nothing(photograph: Image.Image):
    file = Image.open(io.BytesIO(edits.png(photograph)))
    assert np.array_equal(pixels(file), pixels(photograph))
