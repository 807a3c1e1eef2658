"""Copies and strangers by the levels of confidence, on vectors and pictures made here."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.databases import Connection

from evaluation import edits, levels
from evaluation.methods import choice
from evaluation.methods.embedding import Embedding
from evaluation.sources import samples
from shared import settings
from shared.images.sandbox import pool
from shared.settings import CHECKOUT

LEVELS = (0.5, 0.8, 0.975)


def unit(*rows: tuple[float, ...]) -> levels.Vectors:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_copies_are_counted_that_are_strong_and_those_that_find_their_original_first():
    images = unit((1, 0, 0), (0, 1, 0))
    copies = {"crop": (np.array([0, 1]), unit((1, 0.1, 0), (0.2, 0.6, 1)))}
    alone = levels.judged(images, copies, images[:0], LEVELS)
    assert alone["copies"]["crop"] == {"strong": 0.5, "first": 1}
    crowded = levels.judged(images, copies, unit((0, 0, 1)), LEVELS)
    assert crowded["copies"]["crop"] == {"strong": 0.5, "first": 0.5}


def test_pairs_are_of_an_image_and_any_other_never_itself():
    images = unit((1, 0), (1, 0.1), (0, 1))
    assert levels.judged(images, {}, images[:0], LEVELS)["random pairs related"] == pytest.approx(2 / 6)
    crowded = levels.judged(images, {}, unit((0, 1)), LEVELS)
    assert crowded["random pairs related"] == pytest.approx((2 + 1) / 9)


def test_the_nearest_of_several_likes_calls_no_fewer_related_than_their_middle():
    random = np.random.default_rng(0)
    images = unit(*random.normal(size=(60, 4)))
    found = levels.several(images, np.array(["a", "b"] * 30), 0.5)
    assert found["1"]["others, middle"] == found["1"]["others, nearest"]
    assert found["5"]["others, middle"] < found["5"]["others, nearest"]


def test_look_alikes_are_always_the_same_pictures_and_none_is_another():
    first = [levels.look_alike(number) for number in range(50)]
    assert first == [levels.look_alike(number) for number in range(50)]
    assert len(set(first)) == 50


def test_copies_have_the_sides_that_they_say():
    picture = Image.new("RGB", (400, 200))
    sizes = {name: Image.open(io.BytesIO(make(picture))).size for name, make in levels.COPIES.items()}
    assert sizes == {
        "crop to 75%": (300, 150),
        "JPEG, quality 20": (400, 200),
        "half the size": (200, 100),
    }


def published() -> dict[str, Any]:
    report: dict[str, Any] = json.loads(levels.PUBLISHED.read_text())["models"]
    return report


def test_by_the_published_figures_copies_are_strong_and_strangers_are_not_related() -> None:
    tried = [
        found[crowd]
        for collections in published().values()
        for found in collections.values()
        for crowd in ("alone", "with look-alikes")
    ]
    assert len(tried) == 8
    for found in tried:
        assert found["random pairs related"] <= 0.05
        assert [share for copy in found["copies"].values() if (share := copy["strong"]) < 0.95] == []


def test_the_docs_show_the_published_figures() -> None:
    docs = (CHECKOUT / "docs" / "confidence.md").read_text()
    for model, collections in published().items():
        for name, found in collections.items():
            for label, part in ((name, "alone"), (f"{name}, with look-alikes", "with look-alikes")):
                copies = found[part]["copies"].values()
                strong = " | ".join(f"{copy['strong']:.2f}" for copy in copies)
                first, pairs = min(copy["first"] for copy in copies), found[part]["random pairs related"]
                assert f"| {model} | {label} | {strong} | {first:.2f} | {pairs:.1%} |" in docs


@pytest.fixture(scope="module")
def default() -> Embedding:
    (method,) = choice.load(["efficientnet-lite0-concepts"], configuration=settings.load())
    assert isinstance(method, Embedding)
    return method


def is_blank(db: Connection, method: Embedding, files: Sequence[bytes]) -> list[bool]:
    vectors = levels.embedded(files, method, pool.start(settings.load()).decode)
    asked = [(method.name, str(row.tolist())) for row in vectors]
    query = "select same = 'Infinity' from neural_search.confidence_levels(%s, 'image', %s)"
    return [db.execute(query, one).fetchall()[0][0] for one in asked]


def test_the_default_model_sees_pictures_of_one_colour_near_to_the_blank(db: Connection, default: Embedding):
    pictures = product(((32, 32), (200, 150), (90, 160), (300, 100)), product((40, 90, 200), repeat=3))
    files = [edits.saved(Image.new("RGB", size, tone), "PNG") for size, tone in pictures]
    assert all(is_blank(db, default, files))


def test_the_default_model_sees_no_photograph_and_no_disc_near_to_the_blank(
    db: Connection, default: Embedding
):
    photographs = sorted(samples.IMAGES.rglob("*.jpg"))[::10]
    files = [path.read_bytes() for path in photographs] + [levels.look_alike(0)]
    assert not any(is_blank(db, default, files))
