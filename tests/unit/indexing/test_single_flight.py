"""Single flight: the same bytes are worked on by one thread at a time, others beside each other."""

from __future__ import annotations

import threading

import pytest
from support.waiting import PATIENCE

from shared.indexing.single_flight import SingleFlight


def test_the_first_is_told_that_it_is_the_first_and_the_next_that_it_is_not():
    turns = SingleFlight()
    told = []
    for key in ("a", "b", "a"):
        with turns.turn(key) as had:
            told.append(had)
    assert told == [False, False, True]


def test_one_thread_waits_for_another_with_the_same_key_and_for_no_other():
    turns, inside, leave = SingleFlight(), threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        with turns.turn("a"):
            inside.set()
            assert leave.wait(PATIENCE)
            order.append("first")

    def second() -> None:
        assert inside.wait(PATIENCE)
        with turns.turn("a") as had:
            order.append(f"second, after another: {had}")

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    assert inside.wait(PATIENCE)
    with turns.turn("b"):
        order.append("another key")
    leave.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["another key", "first", "second, after another: True"]


def test_nobody_waits_longer_than_is_good_for_its_lease():
    turns = SingleFlight(patience=0.01)
    with turns.turn("a"), turns.turn("a") as had:
        assert not had
    with turns.turn("a") as had:
        assert had


def test_a_turn_that_fails_leaves_the_way_free():
    turns = SingleFlight(patience=PATIENCE)
    with pytest.raises(ValueError), turns.turn("a"):
        raise ValueError
    with turns.turn("a") as had:
        assert had


def test_it_remembers_no_more_than_it_should_and_holds_no_lock_that_nobody_wants():
    turns = SingleFlight(remembered=2)
    for key in ("a", "b", "c"):
        with turns.turn(key):
            pass
    assert (list(turns._had), turns._flights) == (["b", "c"], {})
