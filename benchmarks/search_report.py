"""The search benchmark's report as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from benchmarks.figures import COLUMNS, Figure, cells, measured_on

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]  # title, columns, rows

STRATEGY_COLUMNS = ("strategy", "vectors", "recall@10", "p50", "p95", "build", "bytes per image")
CASE_COLUMNS = ("case", "visible", "returned", "recall@10", "p50", "p95", "÷ HNSW by hand", "÷ exact by hand")


def tables(report: dict[str, Any]) -> list[Table]:
    """All of them, in the order of the docs."""
    return [
        ("Beside the targets", COLUMNS, cells(_figures(report["figures"]))),
        ("Strategies", STRATEGY_COLUMNS, [_strategy(row) for row in report["strategies"]]),
        ("Callers", CASE_COLUMNS, [_case(row) for row in report["callers"]]),
        ("Filters, of who sees everything", CASE_COLUMNS, [_case(row) for row in report["filters"]]),
    ]


def markdown(report: dict[str, Any]) -> str:
    """With the machine and the command that measured it."""
    load = report["machine"]["load"]
    lines = [
        f"{measured_on(report)}; load average {load} before; {report['seconds']} s.",
        "",
        f"    {report['command']}",
    ]
    for title, columns, rows in tables(report):
        lines += ["", f"**{title}**", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def _figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    names = {one.name for one in fields(Figure)}
    return [Figure(**{name: value for name, value in row.items() if name in names}) for row in rows]


def _strategy(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["strategy"],
        f"{row['vectors']:,} of {row['dimensions']}",
        f"{row['recall']:.3f}",
        f"{row['p50_ms']:.1f} ms",
        f"{row['p95_ms']:.1f} ms",
        f"{row['build_seconds']:.0f} s",
        f"{row['bytes_per_image']:,.0f}",
    )


def _case(row: dict[str, Any]) -> tuple[str, ...]:
    exact = [one for one in (row["to_exact"], row["to_exact_as_caller"]) if one is not None]
    return (
        row["case"],
        f"{row['visible']:,}",
        str(row["count"]),
        f"{row['recall']:.3f}",
        f"{row['p50_ms']:.1f} ms",
        f"{row['p95_ms']:.1f} ms",
        f"{row['to_hnsw']:.2f} (recall {row['hnsw_recall']:.2f})",
        " / ".join(f"{one:.2f}" for one in exact),
    )
