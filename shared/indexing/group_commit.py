"""Vectors stored together: those that are ready at about the same time share a round trip."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from shared.errors import NeuralSearchError
from shared.indexing import queue
from shared.indexing.queue import Embedded
from shared.supabase.database import Database

LARGEST = 16  # while a batch is being stored, some 50 ms, an overwrite of one of its images waits
AT_ONCE = 4  # batches: a large index takes milliseconds for each vector
ALONE = "alone"  # the batch came to nothing for this image: it is stored by itself, and gets its own error
AGAIN = (ALONE, "busy", "refused")


@dataclass(frozen=True, eq=False)
class _Call:
    made: Embedded
    status: Future[str] = field(default_factory=Future)


class GroupCommit:
    """Stores for `threads` threads, which wait up to `patience` seconds for company.

    A batch is by default at most half of them: the others keep the model busy meanwhile. Without patience
    only those share a round trip for which there was no turn at once.
    """

    def __init__(
        self,
        threads: int,
        patience: float = 0.0,
        largest: int | None = None,
    ):
        self._largest = largest or max(1, min(LARGEST, threads // 2))
        self._patience = patience
        self._turns = threading.Semaphore(AT_ONCE)
        self._changed = threading.Condition()
        self._waiting: deque[_Call] = deque()

    def store(self, database: Database, made: Embedded) -> str:
        """Embedded, superseded or gone. Raises the DatabaseError for which it isn't stored."""
        call = _Call(made)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
        with self._turns:
            while batch := self._batch(call):
                _answer(database, batch)
        status = call.status.result()
        return queue.finish(database, made) if status in AGAIN else status

    def _batch(self, call: _Call) -> list[_Call]:
        """The oldest that wait; none once another thread has taken `call` along."""
        with self._changed:
            self._changed.wait_for(
                lambda: call not in self._waiting or len(self._waiting) >= self._largest, self._patience
            )
            if call not in self._waiting:
                return []
            taken = [self._waiting.popleft() for _ in range(min(self._largest, len(self._waiting)))]
            self._changed.notify_all()
            return taken


def _answer(database: Database, batch: Sequence[_Call]) -> None:
    try:
        answered = [*zip(batch, _statuses(database, [call.made for call in batch]), strict=True)]
    except BaseException as error:
        for call in batch:
            # Each raises its own: a traceback in common would get all their frames.
            call.status.set_exception(error.anew() if isinstance(error, NeuralSearchError) else error)
        if isinstance(error, Exception):
            return
        raise
    for call, status in answered:
        call.status.set_result(status)


def _statuses(database: Database, batch: Sequence[Embedded]) -> list[str]:
    if len(batch) == 1:
        return [queue.finish(database, batch[0])]
    try:
        return queue.finish_all(database, batch)
    except Exception as error:
        if isinstance(error, NeuralSearchError) and error.outcome == "release":
            raise  # everybody's fault: the leases are given back
        return [ALONE] * len(batch)
