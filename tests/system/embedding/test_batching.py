"""Concurrent calls in one batch: the same answers, errors for who causes them, nobody left waiting."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
from support.waiting import PATIENCE

from shared.embedding.engines.batching import Batcher, Vectors

SIZE = 8


class Model:
    """Doubles its inputs. The first call waits, so that others gather meanwhile."""

    def __init__(self, check: Callable[[np.ndarray], None] = lambda _: None):
        self.sizes: list[int] = []
        self.inside, self.go_on = threading.Event(), threading.Event()
        self._check = check

    def __call__(self, inputs: Sequence[np.ndarray]) -> Vectors:
        self.sizes.append(len(inputs[0]))
        if not self.inside.is_set():
            self.inside.set()
            assert self.go_on.wait(PATIENCE)
        self._check(inputs[0])
        return np.asarray(2 * inputs[0], np.float32)


def ones(*values: float) -> list[np.ndarray]:
    return [np.array([[value] for value in values])]


def gathered(model: Model, *calls: list[np.ndarray], size: int = SIZE) -> list[Any]:
    """Makes the calls at once, the first of them alone; their answers, or the errors that they raise."""
    batcher = Batcher(model, size)
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(batcher, calls[0])]
        assert model.inside.wait(PATIENCE)
        for number, call in enumerate(calls[1:], 1):
            futures.append(pool.submit(batcher, call))
            while len(batcher._waiting) < number:
                pass  # until it waits: so their order is certain
        model.go_on.set()
        errors = [future.exception(PATIENCE) for future in futures]
    return [error or future.result().ravel().tolist() for error, future in zip(errors, futures, strict=True)]


def test_what_arrives_during_a_batch_goes_together_as_the_next():
    model = Model()
    assert gathered(model, *(ones(number) for number in range(6))) == [[2.0 * n] for n in range(6)]
    assert model.sizes == [1, 5]


def test_a_batch_takes_no_more_than_its_size_and_the_oldest_first():
    model = Model()
    answers = gathered(model, ones(0), ones(1, 2), ones(3, 4), ones(5), size=3)
    assert answers == [[0.0], [2.0, 4.0], [6.0, 8.0], [10.0]]
    assert model.sizes == [1, 2, 3]


def test_a_call_alone_is_run_at_once():
    model = Model()
    model.go_on.set()
    assert Batcher(model, SIZE)(ones(1, 2)).tolist() == [[2.0], [4.0]]


def test_a_bad_input_harms_only_its_own_call():
    def check(values: np.ndarray) -> None:
        if 3 in values:
            raise ValueError("three")

    model = Model(check)
    first, *others = gathered(model, *(ones(number) for number in range(5)))
    assert first == [0.0]
    assert [str(one) for one in others] == ["[2.0]", "[4.0]", "three", "[8.0]"]


def test_a_failed_call_leaves_its_inputs_to_nobody():
    def check(values: np.ndarray) -> None:
        raise ValueError("no")

    def failed() -> weakref.ref[np.ndarray]:
        inputs = ones(1)
        with suppress(ValueError):
            batcher(inputs)
        return weakref.ref(inputs[0])

    model = Model(check)
    model.go_on.set()
    batcher = Batcher(model, SIZE)
    gc.disable()  # which would find them, but only after many more objects
    try:
        assert failed()() is None
    finally:
        gc.enable()


def test_inputs_that_do_not_fit_together_are_run_each_for_itself():
    model = Model()
    answers = gathered(model, ones(0), [np.ones((1, 2))], ones(3), [np.ones((2, 2))])
    assert answers == [[0.0], [2.0, 2.0], [6.0], [2.0] * 4]


def test_whoever_dies_in_the_middle_leaves_the_others_to_themselves():
    class Killed(BaseException):
        pass

    killed = threading.Event()

    def check(values: np.ndarray) -> None:
        if len(values) > 1 and not killed.is_set():
            killed.set()
            raise Killed

    answers = gathered(Model(check), *(ones(number) for number in range(5)))
    died = [answer for answer in answers if isinstance(answer, Killed)]
    assert len(died) == 1
    assert sum(answer == [2.0 * number] for number, answer in enumerate(answers)) == 4


def test_many_threads_get_each_their_own_answer():
    model = Model()
    model.go_on.set()
    batcher = Batcher(model, SIZE)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: float(batcher(ones(number))[0, 0]), range(500)))
    assert answers == [2.0 * number for number in range(500)]
    assert max(model.sizes) <= SIZE and not batcher._waiting
