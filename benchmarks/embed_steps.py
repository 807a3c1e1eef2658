"""The model step alone: prepared pictures in, vectors out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from benchmarks import benchmark_app
from benchmarks.contest import Contestant, Rates, entered, median, ratio, rounds
from benchmarks.embed_bench import Bench
from benchmarks.figures import Figure, number
from shared.embedding import artifacts
from shared.errors import SettingsError

BATCH = 8  # of every contestant: the CPU engine's own
ROUNDS = 5
SECONDS = 1.5  # of one contestant's turn
APP_SECONDS = 2.0
GPU_DEVICE = Path("/dev/nvidiactl")  # made by the driver
GPU_BATCH = 512
GPU_TARGET = 10_000  # images/s of an H100
STEP, EAGER, CLIP_EAGER = 0.9, 3.0, 1.9  # targets
CLIP_EAGER_WITHOUT_BF16 = 1.0


def matrix(bench: Bench) -> list[Figure]:
    """The machine's matrix rate, in each precision that it computes in."""
    precisions = dict.fromkeys((bench.precision, "f32"))
    with entered({f"matrix-{one}": "-" for one in precisions}, bench.threads) as there:
        for precision in precisions:
            multiply = partial(_multiply, there[f"matrix-{precision}"])
            multiply()
            bench.rates[precision] = [multiply() for _ in range(ROUNDS)]
    return [
        Figure(
            row="matrix", what=f"matrix multiplication, {one}", value=median(bench.rates, one), unit="GFLOP/s"
        )
        for one in precisions
    ]


def figures(bench: Bench, name: str, rows: Collection[str]) -> list[Figure]:
    """The rows `step` and `eager` of one model."""
    if not {"step", "eager"} & set(rows):
        return []
    ways = ["ours", *(["eager", *(["onnx"] if "onnx" in bench.others else [])] if "eager" in rows else [])]
    model, units = bench.models[name], f"matrix-{bench.precision}"
    with entered(dict.fromkeys(ways, model) | {units: "-"}, bench.threads) as there:
        turns: dict[str, Callable[[], float]] = {way: partial(_step, there[way]) for way in ways}
        turns[units] = partial(_multiply, there[units])
        if "step" in rows:
            turns["benchmark_app"] = partial(_app, bench, model)
        for way in (*ways, units):  # warm: the first batch of a size is compiled
            turns[way]()
        done = iter(range(1, ROUNDS + 1))
        rates = rounds(turns, ROUNDS, lambda: bench.show(f"model step, {name}", next(done), ROUNDS))
    bench.rates[bench.precision] += rates[units]
    found = _steps(bench, name, rates) if "step" in rows else []
    return found + (_compared(bench, name, rates) if "eager" in rows else [])


def _steps(bench: Bench, name: str, rates: Rates) -> list[Figure]:
    flops = _flops(_graph(bench, bench.models[name]))
    beside = zip(rates["ours"], rates[f"matrix-{bench.precision}"], strict=True)
    shares = [rate * flops / (gflops * 1e9) for rate, gflops in beside]
    app, ours = median(rates, "benchmark_app"), median(rates, "ours")
    what = f"{name}, model step"
    return [
        Figure(
            row="step",
            what=f"{what}, {bench.precision}, batch of {BATCH} ÷ benchmark_app",
            value=ratio(rates, "ours", "benchmark_app"),
            unit="x",
            target=STEP,
            note=f"{number(ours, 'images/s')}; benchmark_app {number(app, 'images/s')}",
        ),
        Figure(
            row="step",
            what=f"{what} ÷ the matrix rate in {bench.precision}",
            value=statistics.median(shares),
            unit="x",
            note=f"{flops / 1e9:.2f} GFLOP per image",
        ),
    ]


def _compared(bench: Bench, name: str, rates: Rates) -> list[Figure]:
    clip = name.startswith("CLIP")
    target = EAGER if not clip else CLIP_EAGER if bench.precision == "bf16" else CLIP_EAGER_WITHOUT_BF16
    other = "transformers in float32" if clip else "eager torch"
    found = [_against(name, rates, "eager", other, target)]
    return found + ([_against(name, rates, "onnx", "ONNX Runtime", None)] if "onnx" in rates else [])


def _against(name: str, rates: Rates, way: str, other: str, target: float | None) -> Figure:
    both = [number(median(rates, one), "images/s") for one in ("ours", way)]
    return Figure(
        row="eager",
        what=f"{name}, model step ÷ {other}",
        value=ratio(rates, "ours", way),
        unit="x",
        target=target,
        note=f"{both[0]}; {other} {both[1]}",
    )


def gpu(bench: Bench, asked: bool) -> list[Figure]:
    """CLIP's model step on a GPU; SettingsError where there is none."""
    if not GPU_DEVICE.exists():
        raise SettingsError("There is no NVIDIA GPU here.")
    name = next(name for name in bench.models if name.startswith("CLIP"))
    with entered({"gpu": bench.models[name]}, bench.threads) as there:
        step = partial(there["gpu"].rate, "step", SECONDS, count=GPU_BATCH)
        step()
        rate = statistics.median(step() for _ in range(ROUNDS))
    what = f"{name}, model step on the GPU, float16, batch of {GPU_BATCH}"
    return [Figure(row="gpu", what=what, value=rate, unit="images/s", target=GPU_TARGET)]


def _step(contestant: Contestant) -> float:
    return contestant.rate("step", SECONDS, count=BATCH)


def _multiply(contestant: Contestant) -> float:
    return contestant.rate("multiply", SECONDS / 2) / 1e9


def _app(bench: Bench, model: str) -> float:
    return benchmark_app.images_per_second(
        _graph(bench, model), batch=BATCH, precision=bench.precision, seconds=APP_SECONDS
    )


def _graph(bench: Bench, model: str) -> Path:
    artifact = artifacts.find(model, bench.settings.embedding_cache)
    assert artifact, "the model was prepared before"
    return artifact.folder / artifacts.IMAGE_GRAPH


def _flops(graph: Path) -> float:
    from benchmarks.baselines.matrix import flops_per_image

    return flops_per_image(graph)
