"""Figures beside their targets: as rows of a table for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

COLUMNS = ("figure", "measured", "target", "")
HEAD = (f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure."""

    row: str  # its name for `--only`
    what: str
    value: float
    unit: str  # "x" for a ratio
    target: float | None = None
    at_most: bool = False  # whether the target is an upper bound
    note: str = ""  # its parts, or the measured reason why the target isn't met

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}


def cells(figures: Sequence[Figure]) -> list[tuple[str, str, str, str]]:
    """The rows of the table: figure, measured with its note, target, verdict."""
    return [(one.what, _measured(one), _target(one), _verdict(one)) for one in figures]


def lines(figures: Sequence[Figure]) -> list[str]:
    """The same in Markdown, without HEAD."""
    return [f"| {' | '.join(row)} |" for row in cells(figures)]


def measured_on(report: dict[str, Any]) -> str:
    """When and where: the day, the machine, its system and Python."""
    on = report["machine"]
    return (
        f"{report['made']}, {on['cores']} cores of {on['cpu']}, {on['memory_gb']} GB, {on['system']}, "
        f"Python {on['python']}"
    )


def _measured(figure: Figure) -> str:
    text = number(figure.value, figure.unit)
    return f"{text} ({figure.note})" if figure.note else text


def _target(figure: Figure) -> str:
    if figure.target is None:
        return "reported"
    return f"{'≤' if figure.at_most else '≥'} {number(figure.target, figure.unit)}"


def _verdict(figure: Figure) -> str:
    return {None: "", True: "met", False: "MISSED"}[figure.met]


def number(value: float, unit: str) -> str:
    """`3.42 x`, `187 images/s`, `0.42 s`."""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    text = f"{value:,.{digits}f}"
    return f"{text} {unit}"


def table(report: dict[str, Any], figures: Sequence[Figure]) -> str:
    """Markdown, with the machine and the command that measured it."""
    rates = ", ".join(f"{rate:,.0f} in {name}" for name, rate in report["matrix_gflops"].items())
    text = [
        f"{measured_on(report)}; load average {report['machine']['load']} before. "
        f"Matrix multiplication, in GFLOP/s: {rates}.",
        "",
        f"    {report['command']}",
        "",
        *HEAD,
        *lines(figures),
        "",
        *(f"* Skipped: `{one['row']}`. {one['reason']}" for one in report["skipped"]),
    ]
    return "\n".join(text).rstrip()
