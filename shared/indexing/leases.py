"""Leases given back: the job is due again, and its image isn't charged with an attempt."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from shared.errors import Busy, DatabaseUnavailable, NeuralSearchError
from shared.indexing import queue
from shared.indexing.queue import Job
from shared.runtime import logs
from shared.supabase.database import Database

FAULT_SECONDS = 15  # how long released jobs rest where the fault itself names no time


class Leases:
    """Gives leases back now or, where the database can't be reached, when it can be again."""

    def __init__(self, on_given_back: Callable[[int], None] = lambda _jobs: None) -> None:
        self._on_given_back = on_given_back  # hears of how many jobs
        self._owed: deque[str] = deque()  # leases
        self._unheard: deque[str] = deque(maxlen=100)  # claims; the leases of older ones have ended by now

    @contextmanager
    def claiming(self, database: Database, rest: int = 0) -> Iterator[str]:
        """A name for the claim that is made within; it is given back for `rest` seconds where its answer may
        have been lost.
        """
        claim_id = str(uuid.uuid4())
        try:
            yield claim_id
        except DatabaseUnavailable as fault:
            logs.write("claim given back", severity="WARNING", error=fault, claim_id=claim_id)
            self._release(database, [], [claim_id], rest, fault)
            raise

    def give_back(
        self, database: Database, batch: Sequence[Job], reason: BaseException, delay: int | None = None
    ) -> None:
        """Releases them for `delay` seconds, by default as long as the fault asks for. Raises nothing."""
        if not batch:
            return
        if delay is None:
            delay = getattr(reason, "retry_after", None) or FAULT_SECONDS
        ids = [job.object_id for job in batch]
        logs.write("jobs given back", severity="WARNING", error=reason, jobs=len(batch), object_ids=ids)
        self._on_given_back(len(batch))
        self._release(database, [job.lease_id for job in batch], [], delay, reason)

    def settle(self, database: Database) -> None:
        """Gives back the leases that are owed; the database's error where it still can't be reached."""
        leases, claims = _emptied(self._owed), _emptied(self._unheard)
        if not (leases or claims):
            return
        reason = Busy("The database couldn't be reached. The image is due again.")
        try:
            queue.release(database, leases, claims, 0, reason)
        except NeuralSearchError:
            self._owe(leases, claims)
            raise

    def _release(
        self,
        database: Database,
        leases: Sequence[str],
        claims: Sequence[str],
        delay: int,
        reason: BaseException,
    ) -> None:
        try:
            queue.release(database, leases, claims, delay, reason)
        except NeuralSearchError as error:
            self._owe(leases, claims)
            logs.write("leases left for later", severity="WARNING", error=error)

    def _owe(self, leases: Sequence[str], claims: Sequence[str]) -> None:
        self._owed.extend(leases)
        self._unheard.extend(claims)


def _emptied(waiting: deque[str]) -> list[str]:
    taken = []
    while waiting:
        try:
            taken.append(waiting.popleft())
        except IndexError:  # another thread took the last one
            break
    return taken
