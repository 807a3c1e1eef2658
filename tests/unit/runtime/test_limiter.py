"""The limiter: a few work, a few wait, the rest are told at once to come back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import pytest
from support.waiting import PATIENCE, eventually

from shared.errors import Busy, ClientClosedRequest
from shared.runtime import disconnect
from shared.runtime.limiter import ConcurrencyLimiter, MemoryLimiter
from shared.runtime.metrics import Metrics


class Step:
    """One request's step, in a thread of its own, until it is told to end."""

    def __init__(self, limiter: ConcurrencyLimiter, threads: ThreadPoolExecutor, before: int):
        self.begun, self.over, self.hung_up = threading.Event(), threading.Event(), threading.Event()
        self.done: Future[None] = threads.submit(self._run, limiter)
        eventually(lambda: limiter.inside == before + 1)

    def _run(self, limiter: ConcurrencyLimiter) -> None:
        with disconnect.ends_work(lambda: not self.hung_up.is_set()), limiter.enter():
            self.begun.set()
            self.over.wait()

    def end(self) -> None:
        self.over.set()
        self.done.result(PATIENCE)


class Steps(Protocol):
    def __call__(self, limiter: ConcurrencyLimiter, count: int, leaving: int = 0) -> list[Step]: ...


@pytest.fixture
def steps() -> Iterator[Steps]:
    """Begins so many more steps, in this order; with the first so many others leave."""
    begun: list[Step] = []
    with ThreadPoolExecutor(10) as threads:

        def begin(limiter: ConcurrencyLimiter, count: int, leaving: int = 0) -> list[Step]:
            for number in range(count):
                begun.append(Step(limiter, threads, limiter.inside - (0 if number else leaving)))
            return begun[-count:]

        yield begin
        for step in begun:
            step.over.set()


def test_who_finds_no_place_to_wait_gets_busy_and_those_who_wait_go_on_in_their_order(steps: Steps):
    limiter = ConcurrencyLimiter(running=1, waiting=2)
    first, second, third = steps(limiter, 3)
    with pytest.raises(Busy) as raised, limiter.enter():
        pass
    assert raised.value.retry_after
    assert not second.begun.is_set()
    first.end()
    assert second.begun.wait(PATIENCE) and not third.begun.is_set()
    second.end()
    third.end()
    assert limiter.inside == 0


def test_a_place_is_free_again_after_a_failure():
    limiter = ConcurrencyLimiter(running=1, waiting=0)
    for _ in range(3):
        with pytest.raises(ValueError), limiter.enter():
            raise ValueError


def test_who_hangs_up_while_waiting_leaves_and_begins_nothing(steps: Steps):
    limiter = ConcurrencyLimiter(running=1, waiting=2)
    first, gone, last = steps(limiter, 3)
    gone.hung_up.set()
    assert isinstance(gone.done.exception(PATIENCE), ClientClosedRequest)  # though the first goes on
    assert not gone.begun.is_set()
    assert limiter.inside == 2
    first.end()
    last.end()
    assert last.begun.is_set()


def test_who_has_hung_up_takes_no_place_from_others(steps: Steps):
    limiter = ConcurrencyLimiter(running=2, waiting=2)
    gone = steps(limiter, 4)
    for step in gone:
        step.hung_up.set()
    for step in gone[2:]:
        assert isinstance(step.done.exception(PATIENCE), ClientClosedRequest)
    waiting = steps(limiter, 4)  # all places, though the two others who are gone still end their step
    with pytest.raises(Busy), limiter.enter():
        pass
    assert not any(step.begun.is_set() for step in (*gone[2:], *waiting))
    for step in gone[:2]:
        step.end()
    for step in waiting:
        step.end()
    assert all(step.begun.is_set() for step in waiting)


def test_who_has_hung_up_before_comes_in_no_more():
    limiter = ConcurrencyLimiter(running=1, waiting=0)
    with disconnect.ends_work(lambda: False), pytest.raises(ClientClosedRequest), limiter.enter():
        pass
    assert limiter.inside == 0


def test_those_who_have_hung_up_while_they_wait_leave_at_once_where_their_places_are_needed(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
):
    """They hold a thread each, and keep nobody out however many they are."""
    monkeypatch.setattr(disconnect, "LOOK_SECONDS", 10 * PATIENCE)  # all hang up before they look
    limiter = ConcurrencyLimiter(running=2, waiting=3)
    inside, gone = steps(limiter, 2), steps(limiter, 3)
    for step in gone:
        step.hung_up.set()
    last = steps(limiter, 1, leaving=3)
    assert limiter.inside == 3
    for step in gone:
        assert isinstance(step.done.exception(PATIENCE), ClientClosedRequest)
    for step in (*inside, *last):
        step.end()
    assert last[0].begun.is_set() and limiter.inside == 0


def test_no_more_of_those_who_have_hung_up_are_inside_than_may_run(steps: Steps):
    limiter = ConcurrencyLimiter(running=2, waiting=1)
    for step in steps(limiter, 2):
        step.hung_up.set()
    steps(limiter, 3)
    assert limiter.inside == 5
    with pytest.raises(Busy), limiter.enter():
        pass


def test_how_many_are_inside_is_shown_as_a_metric():
    limiter, metrics = ConcurrencyLimiter(running=2, waiting=0), Metrics()
    metrics.watch(limiter)
    with limiter.enter(), limiter.enter():
        assert b"neural_search_in_flight 2.0" in metrics.text()
    assert b"neural_search_in_flight 0.0" in metrics.text()


def test_requests_share_memory_and_give_all_of_it_back():
    limiter = MemoryLimiter(100)
    with limiter.share() as take, limiter.share() as take_beside:
        take(60)
        take_beside(40)
        with pytest.raises(Busy):
            take(1)
    with limiter.share() as take:
        take(100)


def test_a_share_is_given_back_where_the_request_fails():
    limiter = MemoryLimiter(100)
    with pytest.raises(Busy), limiter.share() as take:
        take(60)
        take(60)
    with limiter.share() as take:
        take(100)
