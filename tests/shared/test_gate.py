"""The gate: a few work, a few wait, the rest are told at once to come back."""

from __future__ import annotations

import threading

import pytest

from shared.errors import Busy
from shared.gate import Gate
from shared.metrics import Metrics


def test_who_finds_no_place_to_wait_gets_busy_and_is_remembered():
    gate = Gate(running=1, waiting=1)
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with gate.enter():
            inside.set()
            leave.wait()

    workers = [threading.Thread(target=work) for _ in range(2)]
    workers[0].start()
    inside.wait()
    inside.clear()
    workers[1].start()
    while gate._places._value:  # until the second one waits
        pass
    with pytest.raises(Busy) as raised, gate.enter():
        pass
    assert raised.value.retry_after
    assert not inside.is_set()

    leave.set()
    for worker in workers:
        worker.join()
    assert inside.is_set()
    assert (gate.take_turned_away(), gate.take_turned_away()) == (True, False)


def test_a_place_is_free_again_after_a_failure():
    gate = Gate(running=1, waiting=0)
    for _ in range(3):
        with pytest.raises(ValueError), gate.enter():
            raise ValueError


def test_how_many_are_inside_is_shown_as_a_metric():
    gate, metrics = Gate(running=2, waiting=0), Metrics()
    metrics.watch(gate)
    with gate.enter(), gate.enter():
        assert b"neural_search_in_flight 2.0" in metrics.text()
    assert b"neural_search_in_flight 0.0" in metrics.text()
