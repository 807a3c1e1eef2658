"""The methods and their similarities."""

from __future__ import annotations

import imagehash
import numpy as np
import pytest
from PIL import Image

from evaluation import edits
from evaluation.collection import Item
from evaluation.methods import SIDE, Reranker
from evaluation.methods.chance import Chance
from evaluation.methods.choice import OTHERS, load
from evaluation.methods.hashes import HASHES, PerceptualHash
from evaluation.methods.histogram import ColourHistogram
from evaluation.methods.local_features import OrbReranking
from shared.errors import CollectionError
from shared.settings import CHECKOUT

NAMES = ("animals/cat", "animals/owl", "energy/windmill_1", "tools/hammer1")


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    return [Image.open(CHECKOUT / f"examples/images/{name}.jpg").convert("RGB") for name in NAMES]


def items(count: int) -> list[Item]:
    return [Item(key=str(n), read=bytes) for n in range(count)]


@pytest.mark.parametrize("name", HASHES)
def test_a_hashs_similarity_is_one_less_twice_the_share_of_different_bits(
    name: str, photographs: list[Image.Image]
):
    method = PerceptualHash(name)
    rows = method.image_features(items(4), photographs)
    hashes = [HASHES[name](picture) for picture in photographs]
    expected = [[1 - 2 * (a - b) / 64 for b in hashes] for a in hashes]
    assert method.similarities(rows, rows).tolist() == expected


def test_the_hashes_are_imagehashs_own(photographs: list[Image.Image]):
    for name, hash_of in (("phash", imagehash.phash), ("dhash", imagehash.dhash)):
        bits = PerceptualHash(name).image_features(items(1), photographs[:1])[0] > 0
        assert np.array_equal(bits, hash_of(photographs[0]).hash.ravel())


def test_colours_are_compared_by_the_bhattacharyya_coefficient():
    half = Image.new("RGB", (20, 20), "red")
    half.paste("blue", (0, 0, 10, 20))
    pictures = [Image.new("RGB", (20, 20), "red"), half, Image.new("RGB", (9, 9), "blue")]
    method = ColourHistogram()
    rows = method.image_features(items(3), pictures)
    # Red against half red: √(1 · ½); red against blue: nothing in common.
    expected = [[1, 0.5**0.5, 0], [0.5**0.5, 1, 0.5**0.5], [0, 0.5**0.5, 1]]
    assert method.similarities(rows, rows) == pytest.approx(np.array(expected), abs=1e-6)


def test_chance_depends_on_key_and_seed_alone():
    first, again, other = (Chance(SIDE, seed).image_features(items(3), []) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.linalg.norm(first, axis=1) == pytest.approx([1, 1, 1])


def test_local_features_bring_the_rotated_original_to_the_front(photographs: list[Image.Image]):
    method = OrbReranking(ColourHistogram())
    gallery = method.image_features(items(4), photographs)
    turned = edits.edited(photographs[2], "rotate", "2", 1)
    query = method.image_features(items(1), [turned])
    first = np.array([[0.9, 0.8, 0.1, 0.7]], np.float32)  # the base has it last
    assert method.reranked(first, query, gallery).argmax() == 2


def test_images_without_any_corner_keep_the_order_of_the_base():
    method = OrbReranking(ColourHistogram())
    plain = method.image_features(items(3), [Image.new("RGB", (64, 64), "red")] * 3)
    assert not plain.any()
    first = np.array([[0.2, 0.9, 0.5]], np.float32)
    assert np.argsort(-method.reranked(first, plain[:1], plain)[0]).tolist() == [1, 2, 0]


def test_what_is_hidden_or_beyond_the_first_hundred_is_not_moved():
    method = OrbReranking(ColourHistogram())
    rows = np.zeros((150, 300, 32), np.uint8)
    first = np.linspace(1, -0.9, 150, dtype=np.float32)[None].copy()
    first[0, 3] = -np.inf
    after = method.reranked(first, rows[:1], rows)[0]
    assert after[3] == -np.inf
    assert np.argsort(-after, kind="stable").tolist() == np.argsort(-first[0], kind="stable").tolist()
    assert (after[:101][np.arange(101) != 3] > 0).all() and (after[101:] < 0).all()


def test_methods_are_loaded_by_name_and_a_base_comes_with_its_reranker():
    loaded = load(["orb", "random"])
    assert [method.name for method in loaded] == ["phash", "phash + ORB", "random"]
    assert isinstance(loaded[1], Reranker) and not isinstance(loaded[0], Reranker)


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(CollectionError, match=f"no method 'sift'.*{OTHERS[0]}"):
        load(["sift"])
