"""The report's sections on each task and on the indexes: the page's content, without its looks."""

from __future__ import annotations

import re
from typing import Any

from evaluation.report import charts, table, words
from evaluation.report.charts import Look
from evaluation.report.sheets import Thumbnails, sheets

Report = dict[str, Any]

TOO_MANY = 0.3  # of the pairs that don't belong together, above a threshold


def summary(report: Report) -> list[str]:
    """One sentence for each task: who is best, how good that is, and how sure."""
    return [_verdict(report, kind) for kind in table.tasks(report)]


def task_section(report: Report, kind: str, look: Look, thumbnails: Thumbnails) -> dict[str, Any]:
    """All that the page shows of one task."""
    said, ranked, leader = words.task(kind), table.ranked(report, kind), table.best(report, kind)
    best = leader["method"]
    examples = [one for one in report["examples"] if one["task"] == kind and one["method"] == best]
    return {
        "id": f"task-{kind}",
        "title": said.title,
        "question": said.question,
        "right": said.right,
        "queries": leader["queries"],
        "gallery": leader["gallery"],
        "metrics": [{"name": name, "meaning": words.metric(name)} for name in table.leading(report, kind)],
        "rows": [_method_row(one, table.leading(report, kind), leader) for one in ranked],
        "comparisons": _comparisons(report, kind, best),
        "parts": _parts(report, kind, best),
        "figures": _figures(report, kind, look, best),
        "best": best,
        "sheets": sheets(examples, thumbnails),
    }


def index_section(report: Report, look: Look) -> dict[str, Any] | None:
    """The indexes' losses and gains; None where they weren't measured."""
    rows = report.get("indexes")
    if not rows:
        return None
    columns, cells = table.index_table(report)
    caption = (
        "Each point is an index: the higher, the fewer of the nearest images it misses; the further left, "
        "the faster. The lines show the 95% interval."
    )
    return {
        "columns": columns,
        "rows": [
            {"cells": cell, "meaning": words.INDEXES.get(row["strategy"], "")}
            for row, cell in zip(rows, cells, strict=True)
        ],
        "sentences": [_index_sentence(row) for row in rows if row["strategy"] != "exact"],
        "figure": {
            "title": "Found against time",
            "svg": charts.recall_by_latency(rows, look, "indexes"),
            "caption": caption,
        },
    }


def glossary(report: Report) -> list[dict[str, str]]:
    """Every metric of the report, in words."""
    names = dict.fromkeys(
        re.sub(r"@\d+$", "@k", name) for one in report["results"] for name in one["metrics"]
    )
    return [{"name": name, "meaning": words.metric(name)} for name in names]


def _verdict(report: Report, kind: str) -> str:
    """How good the best method is, how sure that is, and how the others do."""
    best, metric = table.best(report, kind), _plain(report, kind)
    figure = best["metrics"][metric]
    sentences = [
        f"With {best['method']}, {words.plainly(metric, words.share(figure['value']))} (with other queries "
        f"of this kind {figure['low'] * 100:.0f} to {figure['high'] * 100:.0f})."
    ]
    others = [one for one in table.ranked(report, kind) if one is not best]
    others.sort(key=lambda one: -one["metrics"][metric]["value"])
    if others:
        sentences.append(f"The others: {', '.join(_beside(one, metric) for one in others)}.")
    return " ".join(sentences)


def _plain(report: Report, kind: str) -> str:
    """The metric that the task's sentence tells, or the leading one of a report that lacks it."""
    metric = words.task(kind).plain
    return metric if metric in table.best(report, kind)["metrics"] else table.leading(report, kind)[0]


def _beside(result: dict[str, Any], metric: str) -> str:
    name = "answering by lot" if result["method"] == "random" else result["method"]
    return f"{name} {result['metrics'][metric]['value'] * 100:.0f}"


def _method_row(result: dict[str, Any], names: tuple[str, ...], best: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": result["method"],
        "best": result is best,
        "sampled": result["queries"] if result["queries"] != best["queries"] else None,
        "cells": [_bar(result["metrics"].get(name)) for name in names],
        "seconds": result.get("seconds"),
    }


def _bar(figure: dict[str, float] | None) -> dict[str, str] | None:
    """A figure with its interval in per cent of the bar's length."""
    if figure is None:
        return None
    value, low, high = (max(0.0, min(1.0, figure[name])) for name in ("value", "low", "high"))
    return {
        "text": f"{figure['value']:.3f}",
        "interval": f"{figure['low']:.3f} to {figure['high']:.3f}",
        "value": f"{value * 100:.1f}%",
        "low": f"{low * 100:.1f}%",
        "width": f"{(high - low) * 100:.1f}%",
    }


def _parts(report: Report, kind: str, best: str) -> dict[str, Any] | None:
    """How the best method fares by label or by edit, the easiest first."""
    rows = [one for one in report.get("parts", []) if one["task"] == kind and one["method"] == best]
    if not rows:
        return None
    rows.sort(key=lambda row: (-row["value"], row["part"]))
    return {
        "metric": rows[0]["metric"],
        "by": "edit" if kind == "copies" else "label",
        "rows": [
            {"part": row["part"], "queries": row["queries"], "bar": _bar(_exactly(row["value"]))}
            for row in rows
        ],
    }


def _exactly(value: float) -> dict[str, float]:
    return {"value": value, "low": value, "high": value}


def _comparisons(report: Report, kind: str, best: str) -> list[str]:
    """The best method against each other one, in the leading metric."""
    metric = table.leading(report, kind)[0]
    rows = [
        one
        for one in report["comparisons"]
        if one["task"] == kind and one["metric"] == metric and best in (one["a"], one["b"])
    ]
    return [_comparison(row, best) for row in sorted(rows, key=lambda row: abs(row["difference"]))]


def _comparison(row: dict[str, Any], best: str) -> str:
    other = row["b"] if row["a"] == best else row["a"]
    low, high = sorted(abs(row[end]) for end in ("low", "high"))
    ahead = abs(row["difference"])
    if row["low"] <= 0 <= row["high"]:
        chance = f"p = {row['p']:.2f}"
        return f"{best} and {other} differ by {ahead:.3f} in {row['metric']}, which may be chance ({chance})."
    sure = "p < 0.001" if row["p"] < 0.001 else f"p = {row['p']:.3f}"
    between = f"{low:.3f} to {high:.3f}"
    return (
        f"{best} is {ahead:.3f} ahead of {other} in {row['metric']} ({between}), hardly by chance ({sure})."
    )


def _figures(report: Report, kind: str, look: Look, best: str) -> list[dict[str, str]]:
    curves = [one for one in report["curves"] if one["task"] == kind]
    figures = []
    if recall := _curves(curves, "recall"):
        caption = (
            "How many of the right images one has seen after looking at the first k answers. A curve that "
            f"rises early puts the right ones at the top.{_after_ten(best, recall)}"
        )
        svg = charts.recall_by_k(recall, look, f"{kind}-recall")
        figures.append({"title": "Recall by number of answers", "svg": svg, "caption": caption})
    if precision := _curves(curves, "precision_recall"):
        caption = (
            "How clean the list of answers still is when it is made long enough to hold a given share of "
            "the right images. The higher a curve stays to the right, the better."
        )
        svg = charts.precision_recall(precision, look, f"{kind}-precision")
        figures.append({"title": "Precision against recall", "svg": svg, "caption": caption})
    figures += [
        _distribution(one, kind)
        for one in report["similarities"]
        if one["task"] == kind and one["method"] == best
    ]
    return figures


def _curves(curves: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """By method; nothing where all are level, as precision is where there is one right image."""
    found = {one["method"]: one[kind] for one in curves if one.get(kind)}
    return found if any(len({value for _, value in points}) > 1 for points in found.values()) else {}


def _after_ten(best: str, recall: dict[str, Any]) -> str:
    values = {int(k): value for k, value in recall.get(best, [])}
    return f" With {best}, the first 10 answers hold {words.share(values[10])}." if 10 in values else ""


def _distribution(row: dict[str, Any], kind: str) -> dict[str, str]:
    threshold = row.get("threshold")
    caption = (
        f"How similar {row['method']} finds images that belong together, and those that don't. The less the "
        "two hills overlap, the better one number tells them apart."
    )
    if threshold is not None:
        caption += f" {_threshold(row)}"
    svg = charts.distribution(row["edges"], row["matching"], row["other"], threshold, f"{kind}-similarities")
    return {"title": "Similarities", "svg": svg, "caption": caption}


def _threshold(row: dict[str, Any]) -> str:
    """The shares beyond the suggested threshold, and whether it helps."""
    passing, stray = row["passing"]["matching"], row["passing"]["other"]
    said = (
        f"Suggested threshold: {row['threshold']:.3f} ({row['threshold_rule']}). {words.share(passing)} "
        f"pairs that belong together reach it, and {_few(stray)} of the others."
    )
    return said if stray < TOO_MANY else f"No threshold tells them apart here. {said}"


def _few(share: float) -> str:
    return f"{share * 1_000_000:.0f} of a million" if share < 0.005 else words.share(share)


def _index_sentence(row: dict[str, Any]) -> str:
    missed = (1 - row["recall@10"]) * 100
    loses = "none" if missed < 0.05 else f"{missed:.1f} of 100"
    return (
        f"{row['strategy']} misses {loses} of the 10 nearest images that {row['method']} knows of, and "
        f"answers the middle query in {row['p50_ms']:.1f} ms: it "
        f"{words.INDEXES.get(row['strategy'], 'is another index')}."
    )
