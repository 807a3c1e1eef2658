"""`neural-search bench embed`: that its contestants do the same work, and that it tells their results."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from support import conversion
from typer.testing import CliRunner

from benchmarks import contest, embed, embed_served, embed_steps, figures, serving, speed
from benchmarks.baselines import matrix, ways
from benchmarks.figures import Figure
from benchmarks.instant_project import canned, webhook
from benchmarks.photographs import photographs
from cli.__main__ import app
from shared import settings
from shared.embedding.engines.openvino_runtime import ov
from shared.errors import SettingsError

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def test_the_photographs_have_their_size_and_are_the_same_for_the_same_seed():
    made = list(photographs(512, 384, 3, seed=1))
    assert made == list(photographs(512, 384, 3, seed=1)) != list(photographs(512, 384, 3, seed=2))
    assert {Image.open(io.BytesIO(one)).size for one in made} == {(512, 384)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    from benchmarks.baselines import clip  # torch and transformers: seconds

    return str(clip.write(tmp_path_factory.mktemp("clip") / "tiny", **TINY))


@pytest.fixture
def cpu(tmp_path: Path) -> settings.Settings:
    return dataclasses.replace(ways.cpu_settings(), embedding_cache=tmp_path)


@pytest.mark.filterwarnings("ignore")  # the exporter's, and those of sentence-transformers' own modules
def test_all_ways_to_run_a_checkpoint_make_the_same_vectors(
    checkpoint: str, cpu: settings.Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EMBEDDING_CACHE", str(tmp_path))
    files = list(photographs(320, 280, 3, seed=1))
    conversion.prepare(dataclasses.replace(cpu, embedding_models=(checkpoint,)))
    ours = ways.Ours(checkpoint, cpu)
    expected = ours.embed(files)
    with ThreadPoolExecutor(4) as callers:
        together = list(callers.map(lambda file: ours.embed([file])[0], files))
    assert np.array_equal(together, expected)
    others: list[ways.Way] = [ways.Eager(checkpoint), ways.SentenceTransformers(checkpoint)]
    if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
        others.append(ways.OnnxRuntime(checkpoint, tmp_path, threads=1))
    for other in others:
        assert ((other.embed(files) * expected).sum(axis=1) > 0.999).all(), other


def test_the_products_of_a_graph_are_counted_twice_for_each_multiplication(tmp_path: Path):
    pixels = ov.opset13.parameter([-1, 3, 8, 8], np.float32)
    filters = ov.opset13.constant(np.ones((4, 3, 3, 3), np.float32))
    convolved = ov.opset13.convolution(pixels, filters, [1, 1], [0, 0], [0, 0], [1, 1])  # 4 x 6 x 6
    flat = ov.opset13.reshape(convolved, np.array([0, 144]), special_zero=True)
    weights = ov.opset13.constant(np.ones((144, 5), np.float32))
    model = ov.Model([ov.opset13.matmul(flat, weights, False, False)], [pixels], "two products")
    ov.save_model(model, tmp_path / "graph.xml")
    assert matrix.flops_per_image(tmp_path / "graph.xml") == 2 * (4 * 6 * 6 * 27) + 2 * (144 * 5)


def test_contestants_take_turns_in_another_order_each_round():
    order: list[str] = []

    def turn(name: str, rate: float) -> Any:
        return lambda: order.append(name) or rate  # type: ignore[func-returns-value]

    rates = contest.rounds({"a": turn("a", 6.0), "b": turn("b", 2.0)}, 3, lambda: order.append("|"))
    assert "".join(order) == "ab|ba|ab|"
    assert contest.ratio(rates, "a", "b") == 3.0 and contest.median(rates, "b") == 2.0


def test_a_contestant_that_cannot_start_is_named_with_its_last_line():
    with (
        pytest.raises(
            contest.ContestantFailed, match=r"'ours' ended with status 1: .*There is no such model: 'none'"
        ),
        contest.entered({"ours": "none"}, threads=1),
    ):
        pass


@pytest.mark.parametrize("function", ["embed_on_upload", "query"])
def test_a_function_serves_an_embedding_in_front_of_the_canned_project(function: str):
    files = list(photographs(320, 280, 2, seed=1))
    with canned(files, "efficientnet-lite0", 1280) as project:
        assert serving.cold_start(function, project, "efficientnet-lite0", files[0]) > 0


def test_the_hand_written_function_stores_a_vector():
    files = list(photographs(320, 280, 2, seed=1))
    with (
        canned(files, "efficientnet-lite0", 1280) as project,
        serving.running("embed_on_upload", project, "efficientnet-lite0", naive=True) as server,
        requests.Session() as session,
    ):
        serving._await_port(server)
        assert server.ask(1, files[1], session).json() == {"status": "ok"}


def test_the_webhook_names_an_object_that_the_canned_project_has():
    with canned([b"first", b"second"], "m", 3) as project:
        name = webhook(1)["record"]["name"]
        assert requests.get(f"{project.url}/storage/v1/object/pictures/{name}?v=1").content == b"second"


FIGURES = [
    Figure(row="12mp", what="ratio", value=4.2, unit="x", target=4.0, note="8.00 images/s; 2.00 images/s"),
    Figure(row="memory", what="memory", value=512.0, unit="MB", target=400.0, at_most=True),
    Figure(row="function", what="function", value=31.4, unit="ms"),
]


def test_each_figure_stands_beside_its_target():
    assert figures.cells(FIGURES) == [
        ("ratio", "4.20 x (8.00 images/s; 2.00 images/s)", "≥ 4.00 x", "met"),
        ("memory", "512 MB", "≤ 400 MB", "MISSED"),
        ("function", "31.4 ms", "reported", ""),
    ]
    assert [one.as_json()["met"] for one in FIGURES] == [True, False, None]


REPORT = {
    "made": "2026-01-01",
    "command": "neural-search bench embed",
    "machine": speed.machine() | {"load": 0.1},
    "seconds": 400,
    "precision": "bf16",
    "matrix_gflops": {"bf16": 414.0, "f32": 167.0},
    "figures": [one.as_json() for one in FIGURES],
    "skipped": [{"row": "gpu", "reason": "There is no NVIDIA GPU here."}],
}


def test_the_table_is_written_into_its_chapter_alone(tmp_path: Path):
    file = tmp_path / "speed.md"
    file.write_text((settings.CHECKOUT / "docs" / "speed.md").read_text())
    before = file.read_text()
    speed.replace(file, "embedding", figures.table(REPORT, FIGURES))
    once = file.read_text()
    assert "| memory | 512 MB | ≤ 400 MB | MISSED |" in once and "414 in bf16, 167 in f32" in once
    assert "* Skipped: `gpu`. There is no NVIDIA GPU here." in once
    assert before.partition("<!-- throughput -->")[2] == once.partition("<!-- throughput -->")[2]
    speed.replace(file, "embedding", figures.table(REPORT, FIGURES))
    assert file.read_text() == once


def test_a_file_without_the_place_for_the_table_is_refused(tmp_path: Path):
    (tmp_path / "notes.md").write_text("# Notes\n")
    with pytest.raises(SettingsError, match="has no place for the table"):
        speed.replace(tmp_path / "notes.md", "embedding", "table")
    assert (tmp_path / "notes.md").read_text() == "# Notes\n"


def test_the_command_prints_the_table_or_json(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed, "measure", lambda rows, show, seed: (REPORT, FIGURES))
    shown = CliRunner().invoke(app, ["bench", "embed"]).stdout
    assert "MISSED" in shown and "skipped: gpu: There is no NVIDIA GPU here." in shown
    printed = CliRunner().invoke(app, ["bench", "embed", "--json"]).stdout
    assert json.loads(printed)["figures"][0]["met"] is True


def test_help_names_every_row():
    shown = " ".join(CliRunner().invoke(app, ["bench", "embed", "--help"]).stdout.split())
    assert ", ".join(embed.ROWS) in shown


def test_an_unknown_row_is_named_with_those_there_are():
    result = CliRunner().invoke(app, ["bench", "embed", "--only", "step,speed"])
    assert result.exit_code == 1 and "There is no row 'speed'. There are: step," in result.stderr


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed, "find_spec", lambda name: None if name == "transformers" else "here")
    with pytest.raises(SettingsError, match=r"aren't installed \(transformers\)"):
        embed.measure(["step"], lambda *_: None)


def bench(**changes: str) -> Any:
    values = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_SECRET_KEY": "sb_secret_x"}
    values |= {"DATABASE_URL": "postgresql://db", "EMBED_WEBHOOK_SECRET": "s" * 16, "LOCAL_DATA": "/nowhere"}
    return SimpleNamespace(
        settings=settings.load(values | changes), models={embed.CLIP: "clip"}, threads=1, seed=1
    )


def test_a_project_elsewhere_is_not_measured_on_unless_that_was_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed_served.whole_function, "measure", lambda *_: (0.05, {"download": 0.01}))
    with pytest.raises(SettingsError, match="not on this machine"):
        embed_served.function(bench(), asked=False)
    for asked, url in ((True, "https://abc.supabase.co"), (False, "http://127.0.0.1:54321")):
        (figure,) = embed_served.function(bench(SUPABASE_URL=url), asked=asked)
        assert figure.value == 50.0 and "sum of its parts 10.0 ms: download 10.0" in figure.note


def test_without_a_stack_the_whole_function_is_said_to_be_skipped():
    with pytest.raises(SettingsError, match="neural-search up"):
        embed_served.function(bench(SUPABASE_URL=""), asked=True)


def test_without_a_gpu_its_row_is_said_to_be_skipped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed_steps, "GPU_DEVICE", Path("/nowhere/nvidiactl"))
    with pytest.raises(SettingsError, match="no NVIDIA GPU"):
        embed_steps.gpu(bench(), asked=True)
