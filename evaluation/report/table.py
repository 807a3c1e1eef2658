"""The report's figures as tables: for the terminal, and for docs/evaluation.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from evaluation.report import words

Row = tuple[str, ...]


def tasks(report: dict[str, Any]) -> list[str]:
    """The kinds of task in the report, in its order."""
    return list(dict.fromkeys(result["task"] for result in report["results"]))


def leading(report: dict[str, Any], task: str) -> tuple[str, ...]:
    """The metrics that are shown first for a task; the first of them ranks the methods."""
    there = _results(report, task)[0]["metrics"]
    preferred = tuple(name for name in words.task(task).metrics if name in there)
    return preferred or tuple(there)[:3]


def ranked(report: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """A task's results, the best method first."""
    first = leading(report, task)[0]
    return sorted(_results(report, task), key=lambda one: (-_value(one, first), one["method"]))


def best(report: dict[str, Any], task: str) -> dict[str, Any]:
    """The result that leads. A method that was asked a sample of the queries leads only beyond chance."""
    results = ranked(report, task)
    most = max(result["queries"] for result in results)
    leader = next(result for result in results if result["queries"] == most)
    ahead = (one for one in results[: results.index(leader)] if _is_ahead(report, task, one, leader))
    return next(ahead, leader)


def _is_ahead(report: dict[str, Any], task: str, one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether `one` is better than `other` on the queries that both were asked, beyond the 95% interval."""
    for row in report["comparisons"]:
        if row["task"] == task and {row["a"], row["b"]} == {one["method"], other["method"]}:
            return bool(row["low"] > 0 if row["a"] == one["method"] else row["high"] < 0)
    return False


def task_table(report: dict[str, Any], task: str, *, intervals: bool = True) -> tuple[Row, list[Row]]:
    """Columns and rows: a method and its metrics, `0.480 (0.446 to 0.513)` with the 95% interval."""
    names = leading(report, task)
    rows = [
        (one["method"], *(_cell(one["metrics"].get(name), intervals) for name in names))
        for one in ranked(report, task)
    ]
    return ("method", *names), rows


def index_table(report: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Columns and rows: each index strategy's losses and costs."""
    columns: Row = ("method", "index", "recall@10", "p50", "p95", "build", "bytes per image")
    rows: list[Row] = [
        (
            one["method"],
            one["strategy"],
            _cell({"value": one["recall@10"], "low": one["low"], "high": one["high"]}, True),
            f"{one['p50_ms']:.1f} ms",
            f"{one['p95_ms']:.1f} ms",
            f"{one['build_seconds']:.2f} s",
            f"{one['bytes_per_image']:,.0f}",
        )
        for one in report["indexes"]
    ]
    return columns, rows


def markdown(report: dict[str, Any]) -> str:
    """One table of all tasks, as docs/evaluation.md has it, without times: those are the machine's."""
    columns = ("method", *(words.SHORT[column] for column in words.SHORT))
    names = list(dict.fromkeys(result["method"] for result in report["results"]))
    figures = {(one["task"], one["method"]): one["metrics"] for one in report["results"]}
    rows = [
        (name, *(_cell(figures.get((task, name), {}).get(metric), False) for task, metric in words.SHORT))
        for name in names
    ]
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _results(report: dict[str, Any], task: str) -> list[dict[str, Any]]:
    return [result for result in report["results"] if result["task"] == task]


def _value(result: dict[str, Any], metric: str) -> float:
    return float(result["metrics"].get(metric, {"value": 0.0})["value"])


def _cell(figure: dict[str, float] | None, interval: bool) -> str:
    if figure is None:
        return "-"
    shown = f"{figure['value']:.3f}"
    return f"{shown} ({figure['low']:.3f} to {figure['high']:.3f})" if interval else shown


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_bytes())))
