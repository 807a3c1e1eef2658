"""One way to run a model, in a process of its own.

    python -m benchmarks.baselines.contestant WAY MODEL THREADS

It takes orders as JSON lines from stdin and answers each with a line of JSON, so that the contestants can
take turns while all of them stay loaded and warm.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.baselines import ways
from shared import settings

CALLERS = 4  # threads that hand files to our pipeline, as a kick of embed_on_upload does


def main() -> None:
    way, model, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries' prints must not be taken for answers
    warnings.simplefilter("ignore")
    entered = _enter(way, model, threads)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        print(json.dumps(_do(entered, json.loads(line))), file=answers)


def _enter(way: str, model: str, threads: int) -> Any:
    if way.startswith("matrix-"):
        from benchmarks.baselines.matrix import Multiplication

        return Multiplication(way.removeprefix("matrix-"))
    if way == "ours":
        return ways.Ours(model, ways.cpu_settings())
    if way == "gpu":
        environment = settings.child_environment(
            {"EMBEDDING_DEVICE": "cuda", "EMBEDDING_ENGINE": "torch", "EMBEDDING_PRECISION": "auto"}
        )
        return ways.Ours(model, settings.load(environment))
    import torch

    torch.set_num_threads(threads)
    if way == "onnx":
        return ways.OnnxRuntime(model, settings.load().embedding_cache / "benchmark", threads)
    return ways.Eager(model) if way == "eager" else ways.SentenceTransformers(model)


def _do(way: Any, order: dict[str, Any]) -> dict[str, float]:
    seconds = order["seconds"]
    if order["do"] == "multiply":
        return {"rate": _rate(way, 1, seconds) * way.flops}
    if order["do"] == "step":
        count = order.get("count") or way.batch_size
        return {"rate": _rate(lambda: way.step(count), count, seconds)}
    files = cycle([path.read_bytes() for path in sorted(Path(order["folder"]).iterdir())])

    def embed() -> None:
        way.embed([next(files)])

    return {
        "rate": _rate_of_callers(embed, seconds) if order["do"] == "together" else _rate(embed, 1, seconds)
    }


def _rate_of_callers(work: Callable[[], object], seconds: float) -> float:
    """How many per second, of callers who go on until the time is up, each as soon as it has its answer."""
    began = time.perf_counter()

    def call() -> int:
        done = 0
        while time.perf_counter() - began < seconds:
            work()
            done += 1
        return done

    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(call) for _ in range(CALLERS)]
    return sum(done.result() for done in calls) / (time.perf_counter() - began)


def _rate(work: Callable[[], object], count: int, seconds: float) -> float:
    """How many per second, of work that does `count` at a time."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        work()
        done += count
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
