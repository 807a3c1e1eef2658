"""The actors of a Ray cluster as their driver sees them: their counts, deaths and leases.

An actor that dies takes with it at most the counts since the last look, and leaves leases, which run out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError

from cli.console import output
from cli.console.worker_progress import counts_as_json
from cli.workers.ray_actor import Look
from shared.errors import NeuralSearchError, SettingsError
from shared.indexing.queue import LEASE_SECONDS

LOOK_SECONDS = 1.0  # between two looks at the actors
GIVEN_UP = 5  # looks in a row that find an actor dead, and not just being started again


class Fleet:
    """The actors, and their counts through all restarts."""

    def __init__(self, actors: Sequence[Any]):
        self._actors = list(actors)
        self._asked: dict[Any, int] = {}  # questions without an answer yet, with their actors' numbers
        self._now: dict[int, Look] = {}
        self._lives: dict[tuple[int, str], Look] = {}  # the last look at each actor's each
        self._began = time.monotonic()
        self._deaths: Counter[int] = Counter()  # by actor, those in a row
        # Monotonic: when the last lease ends of an actor that died since `begin`; None where none did.
        self._leased_until: float | None = None

    def look(self) -> None:
        """Asks each actor that has answered before, and takes the answers that come within `LOOK_SECONDS`."""
        for number in sorted(set(range(len(self._actors))) - set(self._asked.values())):
            self._asked[self._actors[number].look.remote()] = number
        ready, _ = ray.wait([*self._asked], num_returns=len(self._asked), timeout=LOOK_SECONDS)
        for reference in ready:
            self._take(self._asked.pop(reference), reference)

    def begin(self) -> None:
        """Has those work again that have ended."""
        for actor in self._actors:
            actor.begin.remote()
        self._now.clear()
        self._asked.clear()  # answers from before
        self._leased_until = None

    def leased_for(self) -> float | None:
        """Seconds until the images are due that actors had which died since `begin`; None where none did.

        0 where they already are: the others may have ended before.
        """
        return None if self._leased_until is None else max(0.0, self._leased_until - time.monotonic())

    def stop(self) -> None:
        for actor in self._actors:
            actor.stop.remote()

    @property
    def working(self) -> int:
        return sum(look.working for look in self._now.values())

    @property
    def has_ended(self) -> bool:
        """Whether all have, but for those that there is no place for."""
        return bool(self._now) and not self.working

    @property
    def restarts(self) -> int:
        return len(self._lives) - len({number for number, _ in self._lives})

    def as_json(self) -> dict[str, Any]:
        """The keys of a plain worker, and the cluster's own."""
        counts, causes = self._totals()
        own = {"causes": dict(causes), "workers": len(self._actors), "restarts": self.restarts}
        return counts_as_json(counts, self._given_back, self._seconds) | own

    def __str__(self) -> str:
        counts, causes = self._totals()
        told = [f"{number:,} {status}" for status, number in counts.most_common()] or ["nothing yet"]
        given_back = f", {self._given_back:,} given back" if self._given_back else ""
        failed = [f"{cause} {number:,}" for cause, number in causes.most_common()]
        why = f" ({', '.join(failed)})" if failed else ""
        rate = f"{counts.total() / self._seconds:.1f} images/s"
        workers = f"{self.working} of {output.count(len(self._actors), 'worker')} working"
        return (
            f"{', '.join(told)}{why}{given_back}; {rate}; {workers}, {output.count(self.restarts, 'restart')}"
        )

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def _given_back(self) -> int:
        return sum(look.given_back for look in self._lives.values())

    def _totals(self) -> tuple[Counter[str], Counter[str]]:
        lives = self._lives.values()
        counts = sum((look.counts for look in lives), Counter[str]())
        return counts, sum((look.causes for look in lives), Counter[str]())

    def _take(self, number: int, reference: Any) -> None:
        try:
            look: Look = ray.get(reference)
        except RayActorError as error:
            if error.actor_init_failed:
                raise SettingsError(
                    f"A node of the cluster can't start a worker: {_end_of(error)} Install the same "
                    "neural-search[cli,ray] on each node, or start all from one container image."
                ) from error
            self._bury(number, error)
            return
        if look.fault:
            raise NeuralSearchError(f"The worker on {look.host} ended: {look.fault}")
        said = self._now[number].said if number in self._now else ""
        if look.said and look.said != said:
            output.warn(f"{look.host}: {look.said}")
        self._now[number] = self._lives[number, look.life] = look
        self._deaths[number] = 0

    def _bury(self, number: int, error: RayActorError) -> None:
        """Ray starts it again, unless it has given up: as with the node that the driver is attached to."""
        self._now.pop(number, None)
        self._leased_until = time.monotonic() + LEASE_SECONDS
        self._deaths[number] += isinstance(error, ActorDiedError)
        if self._deaths[number] >= GIVEN_UP:
            raise NeuralSearchError(
                f"Ray doesn't start a worker again: {_end_of(error)} Run the command again; the images that "
                "the worker had are due in two minutes."
            ) from error


def _end_of(error: BaseException) -> str:
    """The last line of a traceback on a node."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
