"""The public set of emoji, from the real packages: fetched by npm once per machine."""

from __future__ import annotations

from collections import Counter

import pytest
from support.npm_packages import HOW_TO_GET_IT
from support.prerequisites import need

from evaluation import tasks
from evaluation.collection import Collection
from evaluation.sources import emoji
from shared import settings
from shared.errors import CollectionError


@pytest.fixture(scope="module")
def public() -> Collection:
    cache = settings.load().embedding_cache / "npm"
    if not emoji.is_here(cache):
        need("npm", HOW_TO_GET_IT)
    return emoji.collection(cache)


def test_it_has_849_pairs_in_five_categories(public: Collection):
    assert len(public.items) == 2 * 849 and public.labels == 5
    assert set(Counter(item.group for item in public.items).values()) == {2}
    assert Counter(item.rendition for item in public.items) == {"fluent": 849, "google": 849}


def test_a_drawing_is_looked_for_among_the_other_vendors(public: Collection):
    task = tasks.make("pairs", public, seed=0)
    assert len(task.queries) == 1698
    assert {len(public.items) - len(hidden) for hidden in task.hidden} == {849}
    assert {task.targets(row) for row in range(len(task.queries))} == {1}


def test_names_and_keywords_are_the_texts(public: Collection):
    dev = emoji.collection(settings.load().embedding_cache / "npm", "dev")
    captions = {item.key: item.captions for item in (*public.items, *dev.items) if item.captions}
    assert captions["google/black_joker.png"] == ("playing card black joker", "black joker")
    assert captions["fluent/black_joker.webp"] == captions["google/black_joker.png"]


def test_texts_for_tuning_and_for_testing_are_of_different_emoji(public: Collection):
    dev = emoji.collection(settings.load().embedding_cache / "npm", "dev")
    tuned, tested = ({item.group for item in one.items if item.captions} for one in (dev, public))
    assert tuned and tested and not tuned & tested
    assert tuned | tested == {item.group for item in public.items}
    assert 0.4 < len(tested) / 849 < 0.6


def test_the_split_is_the_same_for_ever():
    assert [emoji.split_of(codes) for codes in ("1f34e", "1f408", "26f5", "1f680")] == [
        "test",
        "dev",
        "dev",
        "test",
    ]


def test_an_unknown_part_is_refused():
    with pytest.raises(CollectionError, match=r"no part 'train'\. Expected one of: dev, test"):
        emoji.collection(settings.load().embedding_cache, "train")
