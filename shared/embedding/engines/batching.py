"""Concurrent calls of a model joined to one batch, without a timer and without a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Inputs = Sequence[NDArray[Any]]  # a tower's inputs, each with the pictures along its first axis


class Batcher:
    """Runs `run`, one call at a time; those that arrive meanwhile are the next batch, oldest first.

    A call that comes alone is run at once. An error reaches only the call whose inputs cause it.
    """

    def __init__(self, run: Callable[[Inputs], Vectors], size: int):
        self._run = run
        self._size = size
        self._waiting: deque[_Call] = deque()
        self._running = threading.Lock()

    def __call__(self, inputs: Inputs) -> Vectors:
        """The answer of `run` to these inputs: up to `size` pictures."""
        call = _Call(inputs)
        self._waiting.append(call)
        with self._running:  # its holder works for all that wait; most find their answer there
            while not call.done:
                self._run_next()
        return call.result()

    def _run_next(self) -> None:
        batch = [self._waiting.popleft()]
        count = batch[0].count
        while self._waiting and count + self._waiting[0].count <= self._size:
            count += self._waiting[0].count
            batch.append(self._waiting.popleft())
        try:
            self._answer(batch)
        finally:
            # Something ended this thread in the middle, such as Ctrl-C: the others run their own.
            self._waiting.extendleft(call for call in reversed(batch) if not call.done)

    def _answer(self, batch: list[_Call]) -> None:
        try:
            vectors = self._run(_joined(batch))
        except Exception as error:
            if len(batch) == 1:
                batch[0].fail(error)
                return
            for call in batch:  # only one of them may be to blame
                self._answer([call])
            return
        ends = np.cumsum([call.count for call in batch])
        for call, part in zip(batch, np.split(vectors, ends[:-1]), strict=True):
            call.succeed(part)


def _joined(batch: Sequence[_Call]) -> Inputs:
    if len(batch) == 1:
        return batch[0].inputs
    return [np.concatenate(parts) for parts in zip(*(call.inputs for call in batch), strict=True)]


class _Call:
    """One caller's inputs, and their outcome."""

    def __init__(self, inputs: Inputs):
        self.inputs = inputs
        self.count = len(inputs[0])
        self.done = False
        self._vectors: Vectors | None = None
        self._error: Exception | None = None

    def succeed(self, vectors: Vectors) -> None:
        self._vectors, self.done = vectors, True

    def fail(self, error: Exception) -> None:
        self._error, self.done = error, True

    def result(self) -> Vectors:
        if self._error:
            raise self._taken()
        assert self._vectors is not None
        return self._vectors

    def _taken(self) -> Exception:
        """The error, no longer kept here: its traceback holds this call, and so the inputs."""
        assert self._error
        error, self._error = self._error, None
        return error
