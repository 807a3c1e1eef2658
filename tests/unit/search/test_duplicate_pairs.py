"""Pairs and groups: all possible copies are found, by hashes alone."""

from __future__ import annotations

import random
import re
from itertools import islice, pairwise

import pytest

from cli.installer.releases import SUPABASE
from evaluation.duplicate_measures import BITS, STRANGERS
from shared.search.duplicate_pairs import LEAST_ONES, MOST_BITS, Groups, pairs


def rows(*hashes: int, content: str | None = None) -> list[dict]:
    return [
        {"id": place, "content_hash": content or f"c{place}", "perceptual_hash": f"{one:064b}"}
        for place, one in enumerate(hashes, 1)
    ]


def found(given: list[dict]) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in pairs(given, Groups())}


def test_exactly_the_pairs_of_few_different_bits_are_found_wherever_those_lie():
    numbers = random.Random(0)
    hashes: list[int] = []
    for _ in range(60):
        one = numbers.getrandbits(64)
        hashes.append(one)
        for bits in (0, 1, 3, MOST_BITS, MOST_BITS + 1, 9):
            other = one
            for bit in numbers.sample(range(64), bits):
                other ^= 1 << bit
            hashes.append(other)
    expected = {
        (a, b)
        for a in range(1, len(hashes) + 1)
        for b in range(a + 1, len(hashes) + 1)
        if (hashes[a - 1] ^ hashes[b - 1]).bit_count() <= MOST_BITS
        and all(hashes[one - 1].bit_count() >= LEAST_ONES for one in (a, b))
    }
    assert found(rows(*hashes)) == expected


def test_each_pair_of_different_hashes_is_told_once():
    ones = (1 << 40) - 1
    given = rows(ones ^ 0b1, ones ^ 0b10, ones ^ 0b111, ones << 24, (ones << 24) ^ (1 << 63))
    told = list(pairs(given, Groups()))
    assert len(told) == len(set(told)) == 4


def test_the_same_bytes_are_a_pair_without_any_hash():
    given = [{"id": n, "content_hash": "same", "perceptual_hash": None} for n in (1, 2, 3)]
    assert found(given) == {(1, 2), (2, 3)}
    assert found([]) == set()


def test_plain_pictures_are_paired_with_nothing():
    assert found(rows(1 << 63, 1 << 63, 0)) == set()


def test_what_is_joined_by_way_of_another_is_one_group():
    groups = Groups()
    for pair in ((1, 2), (5, 6), (2, 3), (9, 6)):
        groups.join(*pair)
    assert groups.all() == [[1, 2, 3], [5, 6, 9]]
    assert groups.joined(1, 3) and not groups.joined(1, 5)
    groups.join(4, 4)
    assert groups.all() == [[1, 2, 3], [5, 6, 9]]


def join_all(given: list[dict], groups: Groups, at_once: int, confirmed=lambda pair: True) -> int:
    """Joins the pairs that are confirmed, so many at a time, as the command does; how many were told."""
    waiting, told = pairs(given, groups), 0
    while some := list(islice(waiting, at_once)):
        told += len(some)
        for pair in filter(confirmed, some):
            groups.join(*pair)
    return told


@pytest.mark.parametrize("size", [2, 2500])
def test_large_groups_are_found_whole(size: int):
    numbers = random.Random(1)
    base = numbers.getrandbits(64)
    groups = Groups()
    join_all(rows(*(base ^ (1 << numbers.randrange(64)) for _ in range(size))), groups, 100)
    assert groups.all() == [list(range(1, size + 1))]


def test_thousands_of_copies_take_thousands_of_pairs_and_not_millions():
    hashes = [(1 << 40) - 1 ^ (1 << bit) for bit in range(4)]
    groups = Groups()
    assert join_all(rows(*(hashes * 2000)), groups, 1000) < 3 * 8000
    assert groups.all() == [list(range(1, 8001))]


@pytest.mark.parametrize("at_once", [1, 7, 1000])
@pytest.mark.parametrize("hashes", [[(1 << 40) - 1], [(1 << 40) - 1, (1 << 41) - 1]])
def test_what_may_be_confirmed_is_told_whatever_else_has_the_same_hash(at_once: int, hashes: list[int]):
    """Of three classes, each a chain in which only neighbours are confirmed: every pair is needed."""
    numbers = random.Random(2)
    order = numbers.sample(range(1, 61), 60)
    classes = [order[:20], order[20:55], order[55:]]
    confirmed = {frozenset(pair) for chain in classes for pair in pairwise(chain)}
    groups = Groups()
    given = rows(*(numbers.choice(hashes) for _ in range(60)))
    join_all(given, groups, at_once, lambda pair: frozenset(pair) in confirmed)
    assert sorted(groups.all()) == sorted(sorted(chain) for chain in classes)


def test_the_bounds_are_those_that_the_database_confirms_by():
    rule = (SUPABASE / "sql" / "duplicates.sql").read_text()
    assert re.findall(r"perceptual_hash\) <= (\d+)", rule) == [str(MOST_BITS)]
    assert set(re.findall(r"perceptual_hash\) >= (\d+)", rule)) == {str(LEAST_ONES)}
    assert re.findall(r"first\.embedding .* second\.embedding\) >= ([\d.]+)", rule) == [str(STRANGERS)]
    assert MOST_BITS == BITS
