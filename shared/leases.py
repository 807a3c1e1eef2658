"""Leases given back: the job is due again, and its image isn't charged with an attempt."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from shared import jobs, logs
from shared.errors import Busy, NeuralSearchError
from shared.jobs import Job
from shared.rpc import Database

FAULT_SECONDS = 15  # how long released jobs rest where the fault itself names no time


class Leases:
    """Gives leases back now or, where the database can't be reached, when it can be again."""

    def __init__(self, log: Callable[..., None] = logs.write) -> None:
        self._log = log
        self._owed: deque[Job] = deque()

    def give_back(
        self, database: Database, batch: Sequence[Job], reason: BaseException, delay: int | None = None
    ) -> None:
        """Releases them for `delay` seconds, by default as long as the fault asks for. Raises nothing."""
        if not batch:
            return
        if delay is None:
            delay = getattr(reason, "retry_after", None) or FAULT_SECONDS
        ids = [job.object_id for job in batch]
        self._log("jobs given back", severity="WARNING", error=reason, jobs=len(batch), object_ids=ids)
        try:
            jobs.release(database, batch, delay, reason)
        except NeuralSearchError as error:
            self._owed.extend(batch)
            self._log("leases left for later", severity="WARNING", error=error, jobs=len(batch))

    def settle(self, database: Database) -> None:
        """Gives back what couldn't be given back before; the database's error where it still can't be."""
        owed = self._take_owed()
        if not owed:
            return
        try:
            jobs.release(database, owed, 0, Busy("The database couldn't be reached. The image is due again."))
        except NeuralSearchError:
            self._owed.extend(owed)
            raise

    def _take_owed(self) -> list[Job]:
        owed = []
        while self._owed:
            try:
                owed.append(self._owed.popleft())
            except IndexError:  # another thread took the last one
                break
        return owed
