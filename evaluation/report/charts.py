"""The report's plots, as SVG to be put into a page: text stays text, and nothing is loaded from elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (4.7, 3.7)  # inches
INK, FAINT = "#334155", "#e2e8f0"
# Okabe and Ito's colours, which people who see colours differently can tell apart, the pale ones darkened.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#B8860B",
    "#56B4E9",
    "#6B4C9A",
    "#111111",
    "#8B6F47",
    "#888888",
)
MARKERS = "osD^vPX*<>"
DASHES = ("-", "--", "-.", ":")
MATCHING, OTHER = "#009E73", "#94A3B8"

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}

Curve = Sequence[Sequence[float]]


class Look:
    """Each method's colour, marker and dashes, the same in every plot of a report."""

    def __init__(self, methods: Sequence[str]):
        self._places = {method: place for place, method in enumerate(methods)}

    def of(self, method: str) -> dict[str, Any]:
        place = self._places[method]
        return {
            "color": COLOURS[place % len(COLOURS)],
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": DASHES[place // len(COLOURS) % len(DASHES)],
        }


def recall_by_k(curves: dict[str, Curve], look: Look, name: str) -> str:
    """How the share of right images that are found grows with the number of answers one looks at."""
    with _plot(name) as (axes, svg):
        for method, points in curves.items():
            axes.plot(*_columns(points), label=method, markersize=4, **look.of(method))
        ks = sorted({int(k) for points in curves.values() for k, _ in points})
        axes.set_xscale("log")
        shown = [k for k in ks if str(k)[0] in "125" and set(str(k)[1:]) <= {"0"}] or ks
        axes.set_xticks(shown, [str(k) for k in shown])
        axes.minorticks_off()
        axes.set(xlabel="answers looked at (k)", ylabel="right images found", ylim=(0, 1.02))
        _legend(axes)
    return svg[0]


def precision_recall(curves: dict[str, Curve], look: Look, name: str) -> str:
    """How clean the answers stay while more and more of the right images are wanted."""
    with _plot(name) as (axes, svg):
        for method, points in curves.items():
            axes.plot(*_columns(points), label=method, **look.of(method) | {"marker": None}, linewidth=1.8)
        axes.set(xlabel="right images found (recall)", ylabel="answers that are right (precision)")
        axes.set(xlim=(0, 1.0), ylim=(0, 1.02))
        _legend(axes)
    return svg[0]


def distribution(
    edges: Sequence[float], matching: Sequence[int], other: Sequence[int], threshold: float | None, name: str
) -> str:
    """Similarities of images that belong together and of those that don't, as shares of their own number."""
    with _plot(name) as (axes, svg):
        for counts, colour, label in (
            (other, OTHER, "not belonging together"),
            (matching, MATCHING, "belonging together"),
        ):
            total = sum(counts) or 1
            axes.stairs(
                [count / total for count in counts], edges, fill=True, alpha=0.55, color=colour, label=label
            )
        if threshold is not None:
            axes.axvline(
                threshold,
                color=INK,
                linestyle="--",
                linewidth=1.4,
                label=f"suggested threshold {threshold:.2f}",
            )
        used = [edge for edge, *counts in zip(edges, matching, other, strict=False) if any(counts)]
        if used:
            step = max(edges[1] - edges[0], 0.001)  # all similarities may be the same
            axes.set_xlim(min(used) - step, max(used) + 2 * step)
        axes.set(xlabel="similarity", ylabel="share of the pairs")
        axes.set_yticks([])
        _legend(axes)
    return svg[0]


def recall_by_latency(rows: Sequence[dict[str, Any]], look: Look, name: str) -> str:
    """Each index as a point: the higher the fewer it misses, the further left the faster."""
    shapes = {"exact": "s", "hnsw": "o", "lsh": "^"}
    with _plot(name) as (axes, svg):
        for row in rows:
            colour = look.of(row["method"])["color"]
            recall, error = (
                row["recall@10"],
                [[row["recall@10"] - row["low"]], [row["high"] - row["recall@10"]]],
            )
            axes.errorbar(
                row["p50_ms"],
                recall,
                yerr=error,
                fmt=shapes.get(row["strategy"], "o"),
                color=colour,
                markersize=9,
                capsize=4,
            )
            axes.annotate(
                f"{row['strategy']} ({row['method']})",
                (row["p50_ms"], recall),
                (9, -13),
                textcoords="offset points",
            )
        axes.set(xlabel="time of the middle query, milliseconds", ylabel="nearest images found (recall@10)")
        axes.set_xlim(0, 1.45 * max(row["p50_ms"] for row in rows))
        lowest = min(row["low"] for row in rows)
        axes.set_ylim(max(0.0, lowest - 0.1 * (1.05 - lowest) - 0.01), 1.0 + 0.1 * (1.05 - lowest))
    return svg[0]


@contextmanager
def _plot(name: str) -> Iterator[tuple[Axes, list[str]]]:
    """Axes to draw on; afterwards the list holds the SVG, whose ids are made of `name`: unique in a page."""
    svg: list[str] = []
    import matplotlib  # a second, for a report's page alone
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict[Any, Any](STYLE, **{"svg.hashsalt": name})):
        figure = Figure(figsize=SIZE, layout="constrained")
        yield figure.add_subplot(), svg
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=NO_METADATA)
    svg.append(_inline(file.getvalue(), name))


def _inline(text: str, name: str) -> str:
    """Without the XML head, of any width, hidden from screen readers: the caption says it in words."""
    body = text[text.index("<svg") :]
    head, rest = body.split(">", 1)
    head = re.sub(r' (width|height|xmlns:xlink|version)="[^"]*"', "", head)
    # matplotlib names groups axes_1, text_2 … in every picture: ids must be unique in a page.
    rest = re.sub(r'<g id="[^"]+">', "<g>", re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.S))
    return f'{head} aria-hidden="true" focusable="false">{rest}'.replace("xlink:href", "href")


def _columns(points: Curve) -> tuple[list[float], list[float]]:
    return [point[0] for point in points], [point[1] for point in points]


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        axes.figure.legend(handles, labels, loc="outside lower center", ncols=2)
