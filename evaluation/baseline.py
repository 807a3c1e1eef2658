"""The gate: are results worse than those of a kept report, by more than chance and a tolerance?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Resampling, interval
from evaluation.records import FORMAT
from evaluation.report import table, words
from shared.errors import CollectionError

DIGITS = 4  # of a kept value: a hundredth of the smallest drop that anybody would ask about
COMPARED = ("collection", "seed", "queries", "results")  # without them no report is a baseline


@dataclass(frozen=True, kw_only=True)
class Change:
    """One metric of one method on one task, then and now."""

    task: str
    method: str
    metric: str
    before: float
    after: float
    low: float  # 95% interval of the mean difference, the same queries compared
    high: float

    @property
    def difference(self) -> float:
        return self.after - self.before

    def is_drop(self, max_drop: float) -> bool:
        """Whether it is lower by more than `max_drop`, and not by chance."""
        return self.difference < -max_drop and self.high < 0

    def __str__(self) -> str:
        return (
            f"{self.task}, {self.method}: {self.metric} fell from {self.before:.3f} to {self.after:.3f} "
            f"({self.difference:+.3f}, 95% interval {self.low:+.3f} to {self.high:+.3f})"
        )


def load(path: Path) -> dict[str, Any]:
    """A report's JSON, or the short one of `kept`; CollectionError for anything else."""
    try:
        baseline = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CollectionError(
            f"The baseline {str(path)!r} can't be read: {error}. Expected a report.json of an earlier run."
        ) from error
    found = baseline.get("format") if isinstance(baseline, dict) else None
    if found != FORMAT:
        raise CollectionError(
            f"The baseline {str(path)!r} has the format {found!r}, expected {FORMAT}. Make it anew with "
            "--output."
        )
    if missing := [name for name in COMPARED if name not in baseline]:
        raise CollectionError(
            f"The baseline {str(path)!r} lacks {', '.join(missing)}. Expected a report.json of an earlier "
            "run."
        )
    return dict(baseline)


def changes(report: dict[str, Any], baseline: dict[str, Any]) -> list[Change]:
    """Every metric that both have of the same method and task; CollectionError where none can be compared."""
    _check_comparable(report, baseline)
    before = {_name(result): result for result in baseline["results"]}
    both = [(before[_name(result)], result) for result in report["results"] if _name(result) in before]
    if not both:
        raise CollectionError(
            "The baseline has no method and task of this run. Check --methods and --tasks: it has "
            f"{', '.join(sorted(before))}."
        )
    _check_complete(before, report)
    return [change for old, new in both for change in _changes(old, new, report, baseline)]


def kept(report: dict[str, Any]) -> dict[str, Any]:
    """A report in short, as a baseline: the figures, and each query's share in the leading ones, rounded."""
    names = (
        "format",
        "collection",
        "seed",
        "made",
        "machine",
        "methods",
        "results",
        "comparisons",
        "indexes",
    )
    queries = {name: _leading(report, name, metrics) for name, metrics in report["per_query"].items()}
    draws = {name: _shortened(metrics, metrics) for name, metrics in report["draws"].items()}
    digests = {task: {"digest": _digest(known)} for task, known in report["queries"].items()}
    return {name: report[name] for name in names} | {
        "queries": digests,
        "per_query": queries,
        "draws": draws,
    }


def _leading(report: dict[str, Any], name: str, metrics: dict[str, list[float]]) -> dict[str, list[float]]:
    task = name.split("/", 1)[0]
    chosen = {table.leading(report, task)[0], words.task(task).plain} & set(metrics)
    return _shortened(metrics, sorted(chosen))


def _shortened(metrics: dict[str, list[float]], names: Iterable[str]) -> dict[str, list[float]]:
    return {name: [_short(value) for value in metrics[name]] for name in names}


def _short(value: float) -> float:
    """0 and 1 without decimals: most values are."""
    return int(value) if value == int(value) else round(value, DIGITS)


def _digest(queries: dict[str, Any]) -> str:
    """The queries' names in their order, in short; a kept report has it ready."""
    return queries.get("digest") or hashlib.sha256("\n".join(queries["keys"]).encode()).hexdigest()


def _changes(
    old: dict[str, Any], new: dict[str, Any], report: dict[str, Any], baseline: dict[str, Any]
) -> Iterator[Change]:
    name = _name(new)
    for metric in (one for one in new["metrics"] if one in old["metrics"]):
        then, now = old["metrics"][metric], new["metrics"][metric]
        by_query = _both(baseline, report, "per_query", name, metric)
        by_draw = _both(baseline, report, "draws", name, metric)
        if by_query:
            low, high = _paired(*by_query, _clusters(report, new), report)
        else:
            low, high = interval(_gained(*by_draw)) if by_draw else _unpaired(then, now)
        yield Change(
            task=new["task"],
            method=new["method"],
            metric=metric,
            before=then["value"],
            after=now["value"],
            low=low,
            high=high,
        )


def _clusters(report: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Which queries stand or fall together, of those that the method was asked."""
    clusters: list[str] = report["queries"][result["task"]]["clusters"]
    asked = report["asked"].get(_name(result))
    return clusters if asked is None else [clusters[row] for row in asked]


def _paired(
    before: list[float], after: list[float], clusters: list[str], report: dict[str, Any]
) -> tuple[float, float]:
    resampling = Resampling(clusters, seed=report["seed"])
    return interval(resampling.means(_gained(before, after)[:, None])[:, 0])


def _gained(before: list[float], after: list[float]) -> NDArray[np.float64]:
    return np.subtract(after, before)


def _both(
    baseline: dict[str, Any], report: dict[str, Any], values: str, name: str, metric: str
) -> tuple[list[float], list[float]] | None:
    """A metric's values then and now; None where one of them lacks them."""
    then, now = (one.get(values, {}).get(name, {}).get(metric) for one in (baseline, report))
    return (then, now) if then and now else None


def _unpaired(then: dict[str, float], now: dict[str, float]) -> tuple[float, float]:
    """Where the baseline has neither values by query nor draws, the figure's own interval must do."""
    return now["value"] - then["high"], now["value"] - then["low"]


def _check_comparable(report: dict[str, Any], baseline: dict[str, Any]) -> None:
    both = [task for task in report["queries"] if task in baseline["queries"]]
    for what, found, expected in (
        ("collection", report["collection"]["name"], baseline["collection"]["name"]),
        ("images or what is known of them", *_of_both(report, baseline, _fingerprint)),
        ("seed", report["seed"], baseline["seed"]),
        *((f"queries ({task})", *_of_both(report, baseline, partial(_asked, task))) for task in both),
    ):
        if found != expected:
            raise CollectionError(
                f"This run can't be compared with the baseline: the {what} differ, {expected!r} there, "
                f"{found!r} here. Evaluate the same images with the same seed and --limit, or make the "
                "baseline anew."
            )


def _check_complete(before: dict[str, Any], report: dict[str, Any]) -> None:
    """A method that can't be asked a task any more is no improvement."""
    now, methods = {_name(one) for one in report["results"]}, {one["method"] for one in report["results"]}
    for name, old in before.items():
        if name not in now and old["method"] in methods and old["task"] in report["queries"]:
            raise CollectionError(
                f"The baseline has figures of {name}, this run has none. If that method is not to answer "
                "this task any more, make the baseline anew."
            )


def _of_both(
    report: dict[str, Any], baseline: dict[str, Any], look: Callable[[dict[str, Any]], str]
) -> tuple[str, str]:
    return look(report), look(baseline)


def _fingerprint(report: dict[str, Any]) -> str:
    return str(report["collection"]["fingerprint"])


def _asked(task: str, report: dict[str, Any]) -> str:
    return _digest(report["queries"][task])


def _name(result: dict[str, Any]) -> str:
    return f"{result['task']}/{result['method']}"
