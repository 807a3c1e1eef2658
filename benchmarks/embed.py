"""How fast images become vectors here, beside the processor's bounds and others' speed.

Each contestant is a process of its own, loaded and warm, and they take turns: see `docs/speed.md`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import embed_files, embed_served, embed_steps
from benchmarks.contest import median
from benchmarks.embed_bench import Bench, Show
from benchmarks.figures import Figure
from benchmarks.speed import machine
from shared import embedding, settings
from shared.errors import SettingsError

ROWS = {
    "step": "the model step against OpenVINO's benchmark_app and the matrix rate",
    "eager": "the model step against torch and transformers in float32, and ONNX Runtime",
    "12mp": "bytes to vector, 12-megapixel JPEGs, against the hand-written baseline",
    "512px": "the same for JPEGs of 512 pixels",
    "cold": "process start to the first embedding served",
    "memory": "what a function weighs while it serves 8 requests at a time",
    "function": "object in Storage to stored row, on a running stack",
    "gpu": "CLIP's model step on a GPU",
}
NEEDED = ("torch", "transformers", "efficientnet_lite_pytorch", "psutil", "requests")
OTHERS = {"onnx": ("onnx", "onnxruntime"), "sentence-transformers": ("sentence_transformers",)}
DEFAULT = "efficientnet-lite0"
CLIP = "CLIP ViT-B/32"


def measure(rows: Collection[str], show: Show, *, seed: int = 1) -> tuple[dict[str, Any], list[Figure]]:
    """The report as JSON can hold it, and its figures. `rows`: of ROWS."""
    _check(rows)
    began, load = time.monotonic(), os.getloadavg()[0]
    bench = _prepared(rows, show, seed)
    figures: list[Figure] = []
    skipped = {f"{way} contestant": _not_installed(way) for way in OTHERS if way not in bench.others}
    figures += embed_steps.matrix(bench)
    for name in _needed_models(rows):
        figures += embed_steps.figures(bench, name, rows)
        figures += embed_files.figures(bench, name, rows)
    figures += embed_served.figures(bench, rows)
    for row, figure in (("function", embed_served.function), ("gpu", embed_steps.gpu)):
        if row in rows:
            try:
                figures += figure(bench, asked=len(rows) < len(ROWS))
            except SettingsError as error:
                skipped[row] = str(error)
    report = {
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": _command(rows, seed),
        "machine": machine() | {"load": round(load, 1)},
        "seconds": round(time.monotonic() - began),
        "precision": bench.precision,
        "matrix_gflops": {name: median(bench.rates, name) for name in bench.rates},
        "figures": [figure.as_json() for figure in figures],
        "skipped": [{"row": row, "reason": reason} for row, reason in skipped.items()],
    }
    return report, figures


def _check(rows: Collection[str]) -> None:
    if unknown := set(rows) - set(ROWS):
        raise SettingsError(f"There is no row {sorted(unknown)[0]!r}. There are: {', '.join(ROWS)}.")
    if missing := [name for name in NEEDED if not find_spec(name)]:
        raise SettingsError(
            f"`bench` needs packages that aren't installed ({', '.join(missing)}). Install them with `pip "
            "install -c constraints.txt -e '.[cli,local,torch,bench]'` in the checkout."
        )


def _prepared(rows: Collection[str], show: Show, seed: int) -> Bench:
    from benchmarks.baselines.ways import cpu_settings
    from shared.embedding.engines.openvino_compilation import native_precision

    cpu = cpu_settings()
    models = {DEFAULT: DEFAULT}
    if _needed_models(rows) or "gpu" in rows:
        show("preparing the models", 0, 2)
        models[CLIP] = str(_clip(cpu.embedding_cache / "benchmark" / "clip-vit-base-patch32"))
    for done, model in enumerate(models.values()):
        show("preparing the models", done, len(models))
        embedding.prepare(model, configuration=cpu)
    return Bench(
        models=models,
        settings=cpu,
        precision=native_precision(),
        threads=os.cpu_count() or 1,
        others=tuple(way for way, needs in OTHERS.items() if all(find_spec(one) for one in needs)),
        seed=seed,
        show=show,
    )


def _clip(folder: Path) -> Path:
    if not folder.exists():  # in a process of its own: torch's memory and threads would stay with us
        command = [sys.executable, "-m", "benchmarks.baselines.clip", str(folder)]
        subprocess.run(command, env=settings.child_environment({}), check=True, capture_output=True)
    return folder


def _needed_models(rows: Collection[str]) -> tuple[str, ...]:
    return (DEFAULT, CLIP) if {"step", "eager", "12mp", "512px"} & set(rows) else ()


def _not_installed(way: str) -> str:
    return f"{', '.join(OTHERS[way])}: not installed. Install neural-search[bench]."


def _command(rows: Collection[str], seed: int) -> str:
    only = "" if len(rows) == len(ROWS) else f" --only {','.join(row for row in ROWS if row in rows)}"
    return f"neural-search bench embed{only}{f' --seed {seed}' if seed != 1 else ''}"
