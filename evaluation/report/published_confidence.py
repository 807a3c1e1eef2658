"""The published figures of confidence and duplicates as the tables of docs/confidence.md."""

from __future__ import annotations

from typing import Any

from evaluation.confidence_trials import KINDS
from evaluation.duplicate_measures import COPIES, OTHERS


def levels(report: dict[str, Any]) -> str:
    """Each kind of query and collection: how well it is told apart, and the default's shares."""
    lines = [
        _row(
            "query",
            "collection",
            "queries",
            "AUROC",
            "answered without",
            "true matches kept",
            "kept where each result must",
            "answered with",
        ),
        _row(*["---"] * 8),
    ]
    for kind in KINDS:
        part = report["kinds"][kind]
        (chosen,) = (one for one in part["statistics"] if one["statistic"] == part["chosen"])
        for name, found in chosen["collections"].items():
            shares = [_share(found[key]) for key in ("returning", "kept", "kept_each", "answered")]
            lines.append(_row(kind, name, f"{found['queries']:,}", _figure(found["auroc"]), *shares))
    return "\n".join(lines)


def statistics(report: dict[str, Any], kind: str = "image") -> str:
    """Every statistic that was tried for one kind of query, the best first."""
    part = report["kinds"][kind]
    names = list(part["statistics"][0]["collections"])
    head = [f"{name}: {what}" for name in names for what in ("AUROC", "answered without", "kept", "of each")]
    lines = [_row("statistic", *head), _row(*["---"] * (len(head) + 1))]
    for one in part["statistics"]:
        found = [one["collections"][name] for name in names]
        cells = [
            text
            for figures in found
            for text in (
                f"{figures['auroc']['value']:.3f}",
                _percent(figures["returning"]["value"]),
                _percent(figures["kept"]["value"]),
                _percent(figures["kept_each"]["value"]),
            )
        ]
        lines.append(_row(one["statistic"], *cells))
    return "\n".join(lines)


def duplicates(report: dict[str, Any]) -> str:
    """The share that each rule takes for copies."""
    names = list(report["collections"])
    head = [
        f"{name}: {what}" for name in names for what in ("median similarity", "embedding", "hash", "both")
    ]
    lines = [_row("version", *head), _row(*["---"] * (len(head) + 1))]
    for part, versions in (("copies", COPIES), ("others", OTHERS)):
        for version in versions:
            found = [report["collections"][name][part][version] for name in names]
            cells = [
                text
                for one in found
                for text in (
                    f"{one['median similarity']:.2f}",
                    *(_percent(one[rule]) for rule in ("embedding", "hash", "both")),
                )
            ]
            lines.append(_row(version if part == "copies" else f"*{version}*", *cells))
    different = [report["collections"][name]["different images"] for name in names]
    cells = [
        text
        for one in different
        for text in (f"of {one['pairs']:,}", *(f"{one[rule]}" for rule in ("embedding", "hash", "both")))
    ]
    return "\n".join([*lines, _row("*pairs of different images*", *cells)])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(figure: dict[str, float]) -> str:
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


def _share(figure: dict[str, float]) -> str:
    return f"{_percent(figure['value'])} ({_percent(figure['low'])} to {_percent(figure['high'])})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
