"""The perceptual hash: the pictures that share it, and that it is the published one."""

from __future__ import annotations

import io

import imagehash
import numpy as np
import pytest
from PIL import Image

from shared.images.perceptual_hash import perceptual_hash
from shared.settings import CHECKOUT

PHOTOGRAPHS = sorted((CHECKOUT / "examples" / "images" / "animals").glob("*.jpg"))[:8]


def different(first: str, second: str) -> int:
    return sum(a != b for a, b in zip(first, second, strict=True))


@pytest.fixture(params=PHOTOGRAPHS, ids=lambda path: path.stem)
def photograph(request: pytest.FixtureRequest) -> Image.Image:
    return Image.open(request.param).convert("RGB")


def test_it_is_phash_as_imagehash_has_it_but_for_rounding(photograph: Image.Image):
    known = "".join("1" if bit else "0" for bit in imagehash.phash(photograph).hash.flat)
    assert len(known) == 64 and different(perceptual_hash(photograph), known) <= 2


def test_small_and_rough_copies_keep_nearly_all_of_it(photograph: Image.Image):
    file = io.BytesIO()
    photograph.resize((photograph.width // 2, photograph.height // 2)).save(file, "JPEG", quality=40)
    assert different(perceptual_hash(photograph), perceptual_hash(Image.open(file))) <= 6


def test_a_mirrored_or_cropped_picture_has_another(photograph: Image.Image):
    own = perceptual_hash(photograph)
    width, height = photograph.size
    mirrored = photograph.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    cropped = photograph.crop((0, 0, round(width * 0.7), round(height * 0.7)))
    assert min(different(own, perceptual_hash(other)) for other in (mirrored, cropped)) > 6


@pytest.mark.parametrize("tone", [0, 1, 128, 255])
def test_plain_pictures_have_hardly_a_one(tone: int):
    picture = Image.fromarray(np.full((70, 90, 3), tone, np.uint8))
    assert perceptual_hash(picture).count("1") <= 1
