"""The gate: a few work, a few wait, the rest are told at once to come back."""

from __future__ import annotations

import threading

import pytest

from shared.errors import Busy, ClientClosedRequest
from shared.runtime.limiter import ConcurrencyLimiter, MemoryLimiter
from shared.runtime.metrics import Metrics


def test_who_finds_no_place_to_wait_gets_busy_and_is_remembered():
    limiter = ConcurrencyLimiter(running=1, waiting=1)
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with limiter.enter():
            inside.set()
            leave.wait()

    workers = [threading.Thread(target=work) for _ in range(2)]
    workers[0].start()
    inside.wait()
    inside.clear()
    workers[1].start()
    while limiter._places._value:  # until the second one waits
        pass
    with pytest.raises(Busy) as raised, limiter.enter():
        pass
    assert raised.value.retry_after
    assert not inside.is_set()

    leave.set()
    for worker in workers:
        worker.join()
    assert inside.is_set()


def test_a_place_is_free_again_after_a_failure():
    limiter = ConcurrencyLimiter(running=1, waiting=0)
    for _ in range(3):
        with pytest.raises(ValueError), limiter.enter():
            raise ValueError


def test_a_caller_who_has_gone_waits_for_no_place_and_keeps_none():
    here = True

    def check() -> None:
        if not here:
            raise ClientClosedRequest()

    limiter = ConcurrencyLimiter(running=1, waiting=1, check=check)
    with limiter.enter():
        here = False
        with pytest.raises(ClientClosedRequest), limiter.enter():
            pass
    with pytest.raises(ClientClosedRequest), limiter.enter():
        raise AssertionError("nobody waits for it")
    here = True
    for _ in range(2):
        with limiter.enter() as again:
            again()


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
