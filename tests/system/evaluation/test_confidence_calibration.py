"""docs/confidence.md and the database give confidence and duplicates as measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation import confidence, confidence_trials, duplicate_measures
from evaluation.confidence import STATISTICS, figures, same_level, score, threshold
from evaluation.confidence_trials import Images, Trial, queries, tried
from evaluation.report import published_confidence as tables
from shared.settings import CHECKOUT

DOCS = (CHECKOUT / "docs" / "confidence.md").read_text()


def published(module) -> dict:
    return json.loads(module.PUBLISHED.read_text())


def test_the_docs_tables_are_the_published_figures():
    report = published(confidence)
    assert tables.levels(report) in DOCS
    assert tables.statistics(report) in DOCS
    assert tables.duplicates(published(duplicate_measures)) in DOCS


@pytest.mark.parametrize(("kind", "most"), [("image", 0.06), ("text", 0.07), ("mixed", 0.09)])
def test_on_images_that_had_no_say_few_queries_are_answered_without_their_category(kind: str, most: float):
    part = published(confidence)["kinds"][kind]
    (chosen,) = (one for one in part["statistics"] if one["statistic"] == part["chosen"])
    for found in chosen["collections"].values():
        assert found["returning"]["value"] <= most


@pytest.fixture(scope="module")
def images() -> Images:
    """Three categories about three directions, each of twenty things in two pictures."""
    random = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)[:3]
    vectors = np.repeat(centres, 40, axis=0) + 0.2 * random.normal(size=(120, 8)).astype(np.float32)
    return Images(
        name="made",
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        categories=np.repeat(["a", "b", "c"], 40),
        groups=np.array([f"thing {number // 2}" for number in range(120)]),
        captions=tuple((f"word {number}",) if number % 2 else () for number in range(120)),
    )


@pytest.fixture(scope="module")
def trial(images: Images) -> Trial:
    return tried(images, "image", queries(images, "image", _refuse))


def _refuse(texts):
    raise AssertionError(f"{texts} weren't to be embedded")


def test_a_query_never_finds_itself_and_with_its_category_gone_only_others(images: Images, trial: Trial):
    similarities = images.vectors @ images.vectors.T
    np.fill_diagonal(similarities, -1)
    own = images.categories[:, None] == images.categories[None]
    assert trial.best == pytest.approx(
        np.where(own, similarities, -1).max(axis=1)
    )  # its own are nearest here
    assert (trial.best_without <= np.where(own, -1, similarities).max(axis=1) + 1e-6).all()
    assert np.isnan(trial.true).sum() == 0


def test_halves_share_no_group_and_miss_none(images: Images):
    first, second = images.half(0), images.half(1)
    assert set(first.groups).isdisjoint(second.groups)
    assert len(first.vectors) + len(second.vectors) == len(images.vectors)


def test_texts_are_asked_once_each_and_hide_nothing(images: Images):
    asked = queries(images, "text", lambda texts: images.vectors[: len(texts)])
    assert len(asked.rows) == 60 and not asked.hides
    mixed = queries(images, "mixed", lambda texts: images.vectors[1::2])
    assert mixed.hides and mixed.vectors == pytest.approx(images.vectors[1::2])


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_threshold_lets_no_more_than_its_share_through(trial: Trial, statistic: str):
    level = threshold(statistic, [trial], 0.05)
    gone = score(statistic, trial.best_without, trial.usual_without)
    assert (gone > level).mean() <= 0.05
    assert (gone >= level).mean() >= 0.05


def test_figures_are_those_that_a_reader_counts_by_hand(trial: Trial):
    few = slice(0, 4)
    usual = confidence_trials.Usual(
        **{name: getattr(trial.usual, name)[few] for name in trial.usual.__dataclass_fields__}
    )
    small = replace(
        trial,
        clusters=("a", "b", "c", "d"),
        best=np.array([0.9, 0.8, 0.3, 0.6]),
        best_without=np.array([0.1, 0.7, 0.2, 0.2]),
        true=np.array([[0.9, 0.4], [0.8, np.nan], [0.3, np.nan], [0.5, 0.3]]),
        usual=usual,
        usual_without=usual,
    )
    found = figures("similarity", 0.45, small)
    assert found["queries"] == 4
    assert found["kept"]["value"] == 5 / 6  # all but those of the third query, whose best isn't enough
    assert found["kept_each"]["value"] == 3 / 6
    assert found["answered"]["value"] == 3 / 4
    assert found["returning"]["value"] == 1 / 4
    assert found["auroc"]["value"] == 14 / 16
    assert found["kept"]["low"] <= 5 / 6 <= found["kept"]["high"]


def test_the_same_is_what_hardly_any_other_image_reaches(trial: Trial):
    level = same_level([trial])
    assert (score(confidence.ROOM, trial.best, trial.usual) > level).mean() <= 0.01
