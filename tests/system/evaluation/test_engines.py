"""The default model on the sample photographs: the same figures again, and nearly the same on any engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evaluation.methods.embedding import Embedding
from evaluation.run import evaluate
from evaluation.sources import folder
from shared import embedding, settings
from shared.settings import CHECKOUT

WITHIN = 0.005
SAMPLES = CHECKOUT / "examples" / "images"


@pytest.fixture(scope="module")
def engines() -> dict[str, Embedding]:
    """The default model in OpenVINO, in bfloat16 (as some processors serve it) and float32, and in torch."""
    import torch

    torch.set_num_threads(1)  # several spin while they wait for each other: four times the work
    configuration = replace(
        settings.load({"SUPABASE_URL": "http://unused.invalid"}),
        embedding_engine="openvino",
        embedding_device="cpu",
    )
    loaded = {p: embedding.load(configuration=configuration, precision=p) for p in ("bf16", "f32")}
    loaded["torch"] = embedding.load(configuration=replace(configuration, embedding_engine="torch"))
    return {name: Embedding(embedder, name) for name, embedder in loaded.items()}


@pytest.fixture(scope="module")
def report(engines: dict[str, Embedding]) -> dict[str, Any]:
    return evaluate(folder.collection(SAMPLES), list(engines.values()), ["label"]).data


def figures(report: dict[str, Any], method: str) -> dict[str, float]:
    (result,) = [result for result in report["results"] if result["method"] == method]
    return {name: figure["value"] for name, figure in result["metrics"].items()}


@pytest.mark.parametrize("engine", ["bf16", "f32"])
def test_an_engine_has_the_figures_of_the_reference(report: dict[str, Any], engine: str):
    assert figures(report, engine) == pytest.approx(figures(report, "torch"), abs=WITHIN)


def test_exact_figures_are_identical_from_run_to_run(engines: dict[str, Embedding], report: dict[str, Any]):
    again = evaluate(folder.collection(SAMPLES), [engines["bf16"]], ["label"]).data
    assert again["per_query"]["label/bf16"] == report["per_query"]["label/bf16"]
    assert figures(again, "bf16") == figures(report, "bf16")


def test_photographs_find_their_kind_far_better_than_chance(report: dict[str, Any]):
    # 201 photographs in six folders: chance is right with about 0.2 of the first answers.
    found = figures(report, "torch")
    assert found["precision@1"] == pytest.approx(0.915, abs=0.01)
    assert found["mAP"] == pytest.approx(0.705, abs=0.01)
