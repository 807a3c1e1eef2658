"""A part's outcome: its row in the final table, and the evidence against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COLUMNS = ("part", "operations", "kills", "faults", "images lost", "ghosts", "wrong versions", "seconds")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One part's numbers; those that it doesn't count are None."""

    part: str
    operations: int
    seconds: float
    kills: int | None = None
    faults: int | None = None  # webhooks tampered with, answers that were lost, …
    lost: int | None = None
    ghosts: int | None = None
    wrong: int | None = None
    evidence: tuple[str, ...] = ()  # why it failed; empty where it passed

    @property
    def row(self) -> tuple[str, ...]:
        counts = (self.operations, self.kills, self.faults, self.lost, self.ghosts, self.wrong)
        shown = ("-" if count is None else str(count) for count in counts)
        return (self.part, *shown, f"{self.seconds:.0f}")


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as aligned text."""
    rows = [COLUMNS, *(outcome.row for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Iterable[str], widths: Sequence[int]) -> str:
    part, *numbers = row
    return "  ".join([part.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])])
