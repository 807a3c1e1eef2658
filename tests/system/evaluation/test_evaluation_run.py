"""A whole evaluation: collection to report."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from support.hostile_images import large_and_plain

from evaluation import run, tasks
from evaluation.collection import Collection, Item
from evaluation.edits import EDITS
from evaluation.methods.embedding import Embedding
from evaluation.methods.hashes import PerceptualHash
from evaluation.methods.histogram import ColourHistogram
from evaluation.methods.local_features import OrbReranking
from evaluation.run import Report
from shared import settings
from shared.errors import CollectionError
from shared.images.sandbox import pool
from shared.images.sandbox.pool import DecoderPool
from shared.settings import CHECKOUT
from shared.testing import ColourEmbedder, picture

COLOURS = {"red": "warm", "orange": "warm", "gold": "warm", "blue": "cold", "navy": "cold", "cyan": "cold"}
SAMPLES = CHECKOUT / "examples" / "images"
TIMES = ("made", "seconds", "feature_seconds")


@cache
def decoders() -> DecoderPool:
    return pool.start(settings.load())


def evaluate(*given: Any, **named: Any) -> Report:
    """With decoders that all tests share: their start takes longer than most evaluations here."""
    return run.evaluate(*given, decode=decoders().decode, **named)


def coloured() -> list[Item]:
    return [
        Item(key=f"{name}.png", read=partial(picture, name), label=label, captions=(name,), group=label)
        for name, label in COLOURS.items()
    ]


def colours() -> Embedding:
    return Embedding(ColourEmbedder())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photographs() -> Collection:
    paths = sorted(SAMPLES.glob("*/*_1.jpg")) + sorted(SAMPLES.glob("*/c*.jpg"))
    return Collection(
        name="photographs",
        items=tuple(Item(key=path.name, read=path.read_bytes, label=path.parent.name) for path in paths[:16]),
    )


@pytest.fixture(scope="module")
def report(photographs: Collection) -> Report:
    histogram = ColourHistogram()
    return evaluate(photographs, [histogram, PerceptualHash("dhash"), OrbReranking(histogram)], seed=3)


def timeless(value: object) -> object:
    """The report without its times."""
    if isinstance(value, dict):
        return {name: timeless(one) for name, one in value.items() if name not in TIMES}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def test_all_four_tasks_are_asked_of_a_collection_that_offers_them():
    found = evaluate(Collection(name="colours", items=tuple(coloured())), [colours(), ColourHistogram()]).data
    asked = {(result["task"], result["method"]) for result in found["results"]}
    both = {(kind, name) for kind in ("label", "pairs", "copies") for name in ("colours", "colour-histogram")}
    assert asked == both | {("text", "colours")}  # a histogram understands no text
    text = next(result for result in found["results"] if result["task"] == "text")
    assert text["metrics"]["recall@1"]["value"] == 1.0
    assert found["collection"]["labels"] == 2


def test_only_the_tasks_asked_for_are_done_and_one_not_offered_is_refused():
    plain = Collection(name="plain", items=tuple(Item(key=i.key, read=i.read) for i in coloured()))
    assert {result["task"] for result in evaluate(plain, [colours()]).data["results"]} == {"copies"}
    with pytest.raises(CollectionError, match=r"plain offers no task 'label'. It offers: copies\."):
        evaluate(plain, [colours()], ["label"])


def test_images_that_cannot_be_read_are_listed_and_left_out():
    def gone() -> bytes:
        raise FileNotFoundError("no such file")

    broken = [
        Item(key="broken.png", read=lambda: picture()[:40], label="warm"),
        Item(key="gone.png", read=gone),
    ]
    found = evaluate(Collection(name="c", items=(*coloured(), *broken)), [colours()], ["label"]).data
    assert [(one["key"], one["error"]) for one in found["failures"]] == [
        ("broken.png", "BrokenImage"),
        ("gone.png", "FileNotFoundError"),
    ]
    assert found["collection"]["items"] == found["results"][0]["gallery"] == len(COLOURS)


def test_an_image_that_takes_too_much_memory_costs_its_decoder_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MAX_DECODE_MEMORY", str(128 * 1024 * 1024))
    large = Item(key="large.webp", read=large_and_plain, label="warm")
    found = run.evaluate(Collection(name="c", items=(*coloured(), large)), [colours()], ["label"]).data
    assert [(one["key"], one["error"]) for one in found["failures"]] == [
        ("large.webp", "DecodingOutOfMemory")
    ]


def test_a_collection_of_which_nothing_can_be_read_is_refused_with_the_first_cause():
    items = tuple(Item(key=name, read=lambda: b"text") for name in "ab")
    with pytest.raises(CollectionError, match="0 of 2 images can be read, the first that failed is 'a'"):
        evaluate(Collection(name="c", items=items), [colours()])


def test_the_same_collection_and_seed_give_the_same_report(photographs: Collection, report: Report):
    histogram = ColourHistogram()
    again = evaluate(photographs, [histogram, PerceptualHash("dhash"), OrbReranking(histogram)], seed=3)
    assert timeless(again.data) == timeless(report.data)


def test_a_methods_figures_do_not_depend_on_what_else_is_evaluated(photographs: Collection, report: Report):
    (alone,) = evaluate(photographs, [PerceptualHash("dhash")], ["label"], seed=3).data["results"]
    beside = next(r for r in report.data["results"] if (r["task"], r["method"]) == ("label", "dhash"))
    assert alone["metrics"] == beside["metrics"]


def test_the_report_is_json_with_values_inside_their_intervals(report: Report):
    found = json.loads(json.dumps(report.data, allow_nan=False))
    for result in found["results"]:
        for figure in result["metrics"].values():
            assert (
                0 <= figure["low"] <= figure["value"] + 1e-9
                and figure["value"] <= figure["high"] + 1e-9 <= 1.1
            )
    assert {len(one["matching"]) for one in found["similarities"]} == {100}
    assert {len(one["edges"]) for one in found["similarities"]} == {101}


def test_the_figures_are_the_means_of_the_queries_values(report: Report):
    for result in report.data["results"]:
        values = report.data["per_query"][f"{result['task']}/{result['method']}"]
        for name, column in values.items():
            assert len(column) == result["queries"]
            assert np.mean(column) == pytest.approx(result["metrics"][name]["value"], abs=2e-6)


def test_every_pair_is_counted_in_the_distributions(report: Report, photographs: Collection):
    count = len(photographs.items)
    label = next(one for one in report.data["similarities"] if one["task"] == "label")
    assert sum(label["matching"]) + sum(label["other"]) == count * (count - 1)


def test_the_shares_that_reach_the_threshold_are_exact(photographs: Collection, report: Report):
    """A hash's similarities are few: within the threshold's own bin of the histogram lie many."""
    dhash = PerceptualHash("dhash")
    rows = [one for one in report.data["similarities"] if (one["task"], one["method"]) == ("label", "dhash")]
    features = report.features["dhash"]
    levels = np.rint(dhash.similarities(features, features).astype(float) * 1e6)
    labels = np.array([item.label for item in photographs.items])
    same, others = labels[:, None] == labels, ~np.eye(len(labels), dtype=bool)
    for pairs, told in ((same & others, "matching"), (~same, "other")):
        expected = (levels[pairs] >= round(rows[0]["threshold"] * 1e6)).mean()
        assert rows[0]["passing"][told] == pytest.approx(expected, abs=1e-6)


def test_every_two_methods_are_compared_and_the_better_one_has_the_larger_value(report: Report):
    values = {
        (result["task"], result["method"], name): figure["value"]
        for result in report.data["results"]
        for name, figure in result["metrics"].items()
    }
    compared = report.data["comparisons"]
    assert len(compared) == 2 * 3  # tasks, and pairs of three methods
    for one in compared:
        a, b = (values[one["task"], one[side], one["metric"]] for side in "ab")
        assert one["difference"] == pytest.approx(a - b, abs=2e-6)
        assert one["low"] - 1e-6 <= one["difference"] <= one["high"] + 1e-6 and 0 < one["p"] <= 1


def test_a_reranker_that_is_asked_a_sample_is_compared_on_that_sample(photographs: Collection):
    histogram = ColourHistogram()
    orb = OrbReranking(histogram)
    orb.most_queries = 5
    found = evaluate(photographs, [histogram, orb], ["label"]).data
    rows = found["asked"]["label/colour-histogram + ORB"]
    base, sampled = (found["per_query"][f"label/{one.name}"]["mAP"] for one in (histogram, orb))
    assert len(rows) == len(sampled) == 5 and [r["queries"] for r in found["results"]] == [len(base), 5]
    (compared,) = found["comparisons"]
    assert compared["queries"] == 5
    expected = np.mean([base[row] for row in rows]) - np.mean(sampled)
    assert compared["difference"] == pytest.approx(expected, abs=2e-6)


def test_examples_show_the_best_the_worst_and_the_wrong(report: Report, photographs: Collection):
    keys = {item.key for item in photographs.items}
    for example in report.data["examples"]:
        answers, first = example["answers"], example["answers"][0]
        assert {answer["key"] for answer in answers} <= keys
        assert [a["similarity"] for a in answers] == sorted((a["similarity"] for a in answers), reverse=True)
        assert first["relevant"] == (example["first_right"] == 1)
        assert example["kind"] != "wrong" or not first["relevant"]
        if example["task"] == "label":
            assert example["query"]["key"] not in {answer["key"] for answer in answers}
        else:
            assert example["query"]["edit"] in EDITS and example["expected"] == [example["query"]["key"]]


def test_figures_are_broken_down_by_label_and_by_edit(report: Report):
    named = {(one["task"], one["part"]) for one in report.data["parts"]}
    assert {part for task, part in named if task == "copies"} == set(EDITS)
    assert {part for task, part in named if task == "label"} <= {path.name for path in SAMPLES.iterdir()}


def test_progress_is_told_up_to_the_end():
    told: list[tuple[str, int, int]] = []
    items = tuple(coloured())
    evaluate(Collection(name="c", items=items), [colours()], progress=lambda *step: told.append(step))
    assert told[0] == ("Reading the images", 6, 6)
    ends = {doing: (done, total) for doing, done, total in told}
    assert all(done == total for done, total in ends.values())
    assert {"Editing the images", "Reading the texts: colours", "Searching: copies, colours"} <= set(ends)


def test_the_features_of_the_report_are_those_of_its_items(report: Report, photographs: Collection):
    assert [item.key for item in report.items] == [item.key for item in photographs.items]
    assert report.features["dhash"].shape == (len(report.items), 64)


def test_edited_images_are_sampled_in_large_collections(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks, "MOST_EDITED", 2)
    found = evaluate(Collection(name="c", items=tuple(coloured())), [colours()], ["copies"]).data
    (result,) = found["results"]
    assert (result["queries"], result["sampled_from"]) == (2 * len(EDITS), 6 * len(EDITS))
