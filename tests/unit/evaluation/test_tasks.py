"""Tasks: queries, gallery, right answers, and items that must not be shown."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image

from evaluation import tasks
from evaluation.collection import Collection, Item
from evaluation.edits import EDITS
from evaluation.tasks import Task
from shared import images
from shared.errors import CollectionError
from shared.testing import picture

decode = partial(images.decode, max_bytes=10**6, max_pixels=10**6)


def collection(**known: dict[str, object]) -> Collection:
    """Items by key, with the knowledge of each."""
    return Collection(
        name="c",
        items=tuple(Item(key=key, read=picture, **facts) for key, facts in known.items()),  # type: ignore[arg-type]
    )


def answers(task: Task) -> dict[str, tuple[list[str], list[str]]]:
    """For every query, the keys of the right and of the hidden items."""
    keys = np.array([item.key for item in task.gallery])
    rows = zip(task.queries, task.relevant, task.hidden, strict=True)
    return {
        query.key: (keys[np.setdiff1d(right, hidden)].tolist(), keys[hidden].tolist())
        for query, right, hidden in rows
    }


def test_a_label_query_never_sees_itself_and_unlabelled_images_take_no_part():
    found = collection(a={"label": "x"}, b={"label": "y"}, c={"label": "x"}, d={}, e={"label": "y"})
    task = tasks.make("label", found, seed=0)
    assert [item.key for item in task.gallery] == ["a", "b", "c", "e"]
    assert answers(task) == {
        "a": (["c"], ["a"]),
        "b": (["e"], ["b"]),
        "c": (["a"], ["c"]),
        "e": (["b"], ["e"]),
    }


def test_a_query_with_nothing_to_find_is_left_out_and_counted():
    task = tasks.make("label", collection(a={"label": "x"}, b={"label": "x"}, c={"label": "y"}), seed=0)
    assert ([query.key for query in task.queries], task.left_out) == (["a", "b"], 1)
    assert [item.key for item in task.gallery] == ["a", "b", "c"]
    pairs = tasks.make(
        "pairs", collection(a={"group": "x"}, b={"group": "x"}, c={"group": "y"}, d={}), seed=0
    )
    assert ([query.key for query in pairs.queries], pairs.left_out) == (["a", "b"], 1)


def test_pairs_are_looked_for_among_all_images_or_the_other_renditions():
    everything = {key: {"group": key[0]} for key in ("a1", "a2", "b1", "b2")}
    assert answers(tasks.make("pairs", collection(**everything, c={}), seed=0))["a1"] == (["a2"], ["a1"])
    drawn = {key: {"group": key[0], "rendition": key[1]} for key in ("a1", "a2", "b1", "b2")}
    assert answers(tasks.make("pairs", collection(**drawn), seed=0))["a1"] == (["a2"], ["a1", "b1"])


def test_a_caption_finds_all_images_that_carry_it():
    found = collection(
        a={"captions": ("red", "warm")}, b={"captions": (" red ",)}, c={}, d={"captions": ("",)}
    )
    task = tasks.make("text", found, seed=0)
    assert answers(task) == {"red": (["a", "b"], []), "warm": (["a"], [])}
    assert len(task.gallery) == 4


def test_an_edited_image_finds_its_original():
    task = tasks.make("copies", collection(a={}, b={}), seed=0)
    assert {query.edit for query in task.queries} == set(EDITS)
    assert answers(task)["a (flip)"] == (["a"], [])
    assert {query.cluster for query in task.queries} == {"a", "b"}


def test_an_edited_images_file_is_a_picture_of_it():
    task = tasks.make("copies", collection(a={}, b={}), seed=0)
    read = {item.key: item.read for item in tasks.pictures(task.queries, 0, decode)}
    assert Image.open(io.BytesIO(read["a (resize)"]())).size == (8, 8)


def test_a_collection_offers_what_is_known_of_it():
    assert tasks.offered(collection(a={}, b={})) == ["copies"]
    # One image of each label has nothing to find.
    assert tasks.offered(collection(a={"label": "x"}, b={"label": "y"})) == ["copies"]
    rich = {"label": "x", "group": "g", "captions": ("t",)}
    assert tasks.offered(collection(a=rich, b=rich)) == ["label", "pairs", "copies", "text"]


def test_queries_of_large_collections_are_sampled_by_the_seed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks, "MOST_EDITED", 3)
    monkeypatch.setattr(tasks, "MOST_QUERIES", 4)
    found = collection(**{f"{n:02}": {"label": "x"} for n in range(20)})
    first, again, other = (tasks.make("copies", found, seed=seed) for seed in (1, 1, 2))
    assert (len(first.queries), first.sampled_from) == (3 * len(EDITS), 20 * len(EDITS))
    assert [query.key for query in first.queries] == [query.key for query in again.queries]
    assert [query.key for query in first.queries] != [query.key for query in other.queries]
    label = tasks.make("label", found, seed=1)
    assert (len(label.queries), len(label.gallery), label.sampled_from) == (4, 20, 20)


def test_an_unknown_kind_is_no_task():
    with pytest.raises(CollectionError, match="no task 'labels'"):
        tasks.make("labels", collection(a={}, b={}), seed=0)
