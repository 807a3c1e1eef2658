"""How two models' results differ on the project's own images: read, compared, shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli.client.project_identity import require_one_project
from cli.console import output
from cli.console.output import count
from cli.installer.connection import connect
from cli.models import stored_vectors
from cli.models.stored_vectors import Sample
from evaluation import comparison
from evaluation.comparison import Figure, Neighbours
from shared.settings import Settings

EXAMPLES = 5  # images whose results differ most
SHOWN = 3  # results of each

Row = dict[str, Any]


def compare(target: Settings, models: tuple[str, str], most: int) -> Row:
    """The output of `models compare --json`, of `most` images at most."""
    with connect(target.need("database_url")) as database:
        require_one_project(target, database)
        sample = stored_vectors.read(database, models, most)
    return compared(sample, models)


def compared(sample: Sample, models: tuple[str, str]) -> Row:
    one, other = (comparison.nearest(vectors) for vectors in sample.vectors)
    overlaps = comparison.overlaps(one, other)
    return {
        "models": list(models),
        "images": len(sample.keys),
        "of": sample.of,
        "depth": one.shape[1],
        "overlap": _figure(comparison.figure(overlaps)),
        "quality": _quality(sample, models),
        "examples": _examples(sample, models, (one, other), overlaps),
    }


def show(found: Row) -> None:
    former, latter = found["models"]
    output.say(f"{count(found['images'], 'image')} of {found['of']:,} that both {former} and {latter} have.")
    output.say(
        f"Of the {found['depth']} nearest images a share of {_told(found['overlap'])} is the same "
        f"(overlap@{found['depth']}).\n"
    )
    if found["quality"]:
        _show_quality(found)
    else:
        output.say("No two images lie in the same folder, so nothing tells which results are right.")
    output.say("\nWhere they differ most:")
    for example in found["examples"]:
        output.say(f"{example['image']} ({example['overlap']:.0%} the same)")
        for model, results in example["results"].items():
            output.say(f"  {model}: {', '.join(results[:SHOWN])}")


def _show_quality(found: Row) -> None:
    quality = found["quality"]
    output.say(
        f"Right is what lies in the same folder, for {count(quality['queries'], 'image')} with company there:"
    )
    rows = [
        (name, *(_told(values[metric]) for metric in comparison.QUALITY))
        for name, values in (*quality["models"].items(), ("difference", quality["difference"]))
    ]
    output.print_table(("model", *comparison.QUALITY), rows)


def _quality(sample: Sample, models: tuple[str, str]) -> Row | None:
    one, other = (comparison.quality(sample.keys, sample.labels, vectors) for vectors in sample.vectors)
    if not one:
        return None
    return {
        "queries": len(next(iter(one.values()))),
        "models": {name: _figures(values) for name, values in zip(models, (one, other), strict=True)},
        # Of the same queries, so that a query's difficulty for both drops out.
        "difference": _figures({metric: other[metric] - one[metric] for metric in one}),
    }


def _examples(
    sample: Sample,
    models: tuple[str, str],
    neighbours: tuple[Neighbours, Neighbours],
    overlaps: NDArray[np.float64],
) -> list[Row]:
    rows = np.argsort(overlaps, kind="stable")[:EXAMPLES]
    return [
        {
            "image": sample.keys[row],
            "overlap": float(overlaps[row]),
            "results": {
                model: [sample.keys[place] for place in found[row]]
                for model, found in zip(models, neighbours, strict=True)
            },
        }
        for row in rows.tolist()
    ]


def _figures(values: dict[str, NDArray[np.float64]]) -> Row:
    return {metric: _figure(comparison.figure(numbers)) for metric, numbers in values.items()}


def _figure(figure: Figure) -> Row:
    return {"value": figure.value, "low": figure.low, "high": figure.high}


def _told(figure: Row) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
