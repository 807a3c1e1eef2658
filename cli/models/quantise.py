"""A model's image side in 8 bits: made, measured on the public set, kept or refused, shown."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.console import output
from cli.console.progress import Show, steps
from evaluation import quantisation_trial
from evaluation.quantisation_trial import Trial
from evaluation.sources import samples
from evaluation.sources.emoji import public_set
from shared import embedding
from shared.embedding import artifacts
from shared.embedding.artifacts import Artifact
from shared.embedding.engines.openvino_engine import OpenVinoEngine
from shared.images.sandbox import pool
from shared.settings import Settings

COLUMNS = ("image side", "mean cosine", "least", "recall@10", "one image", "8 images", "")

Row = dict[str, Any]


def quantise(name: str, configuration: Settings) -> Row:
    """The output of `models quantise --json`. The first way of 8 bits that passes is kept."""
    configuration = replace(
        configuration, embedding_engine="openvino", embedding_device="cpu", embedding_precision="auto"
    )
    embedding.prepare(name, configuration=configuration)
    artifact = artifacts.find(name, configuration.embedding_cache)
    assert artifact, "it was just converted"
    drawings = public_set(configuration, "test", output.warn).items
    with (
        steps() as show,
        tempfile.TemporaryDirectory(prefix="neural-search-") as folder,
        artifacts.lock(name, configuration.embedding_cache),
        closing(pool.start(configuration)) as decoders,
    ):
        artifacts.sweep(name, configuration.embedding_cache)
        shown = quantisation_trial.pictures(
            artifact.record.image, samples.collection().items, drawings, decoders.decode, show
        )
        rows, kept = _tried(artifact, shown, Path(folder), show)
        if kept:
            artifacts.add_quantised(artifact, kept.graph)
        else:
            artifacts.remove_quantised(artifact)
    if kept:
        OpenVinoEngine(artifact, "int8").compile()  # now, and not while a function starts
    return {"name": name, "kept": kept and kept.name, "ways": rows}


def show(found: Row) -> None:
    """The ways that were tried in a table, and the outcome."""
    output.print_table(COLUMNS, [_cells(row) for row in found["ways"]])
    if not found["kept"]:
        output.say(f"\n{found['name']} isn't offered in 8 bits: no way keeps what float32 finds.")
        return
    output.say(
        f"\n{found['name']} can be served in 8 bits here: {found['kept']}.\n"
        "Set EMBEDDING_PRECISION=int8 where it should be."
    )


def _tried(
    artifact: Artifact, shown: quantisation_trial.Pictures, folder: Path, show: Show
) -> tuple[list[Row], Trial | None]:
    rows: list[Row] = []
    exact: Trial | None = None
    for trial in quantisation_trial.trials(artifact, shown, folder, show):
        exact = exact or trial
        refusal = trial.refusal(exact) if trial.quantised else None
        rows.append(_row(trial, refusal))
        if trial.quantised and not refusal:
            return rows, trial
    return rows, None


def _row(trial: Trial, refusal: str | None) -> Row:
    return {
        "way": trial.name,
        "mean_cosine": round(trial.cosine, 5),
        "least_cosine": round(trial.least_cosine, 5),
        "recall_at_10": round(trial.recall, 5),
        "speed_of_one": round(trial.one, 2),
        "speed_of_8": round(trial.batch, 2),
        "refusal": refusal,
    }


def _cells(row: Row) -> tuple[Any, ...]:
    figures = (f"{row['mean_cosine']:.4f}", f"{row['least_cosine']:.4f}", f"{row['recall_at_10']:.4f}")
    speeds = (f"{row['speed_of_one']:.2f} x", f"{row['speed_of_8']:.2f} x")
    return (row["way"], *figures, *speeds, f"refused: {row['refusal']}" if row["refusal"] else "")
