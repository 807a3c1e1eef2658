"""8-bit post-training quantisation of efficientnet-lite0: what it moves, what is still found, what it gains.

`python -m evaluation.quantisation` prints docs/speed.md's table. It needs `pip install nncf==3.4.0`, which no
extra brings: nothing that is served needs it. It calibrates on every second sample photograph and on drawings
of the public set's `dev`, and measures on the others.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation import decoding
from evaluation.collection import Item
from evaluation.sources import emoji, samples
from shared import embedding, settings
from shared.embedding import artifacts, preprocessing
from shared.embedding.artifacts import Artifact
from shared.embedding.compilation import core
from shared.errors import SettingsError

MODEL = "efficientnet-lite0"
BATCHES, ROUNDS = (1, 8), 12
Vectors = NDArray[np.float32]
Run = Callable[[NDArray[Any]], Vectors]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pixels as the image tower takes them, and what they show."""

    photographs: NDArray[np.uint8]
    drawings: NDArray[np.uint8]
    groups: NDArray[Any]  # of the drawings
    vendors: NDArray[Any]
    kept: NDArray[np.bool_]  # drawings to measure on: those of the public set's `test`

    @property
    def calibration(self) -> NDArray[np.uint8]:
        return np.concatenate([self.photographs[::2], self.drawings[~self.kept][::8]])

    @property
    def measured(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The other photographs, and drawings that nothing was calibrated on."""
        return self.photographs[1::2], self.drawings[self.kept]


def main() -> None:
    """Print a table row for each precision."""
    configuration = settings.load()
    embedding.prepare(MODEL, configuration=configuration)
    artifact = artifacts.find(MODEL, configuration.embedding_cache)
    assert artifact, "it was just converted"
    pictures = _pictures(artifact, emoji.collection(configuration.embedding_cache / "npm").items)
    runs = _runs(artifact, pictures.calibration)
    speeds = {size: _speeds(runs, pictures.photographs[:size]) for size in BATCHES}
    reference = runs["float32"]
    print("| engine | mean cosine: photographs | drawings | least | pairs: recall@1 | recall@10 | 1 | 8 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, run in runs.items():
        moved = [_cosines(run, reference, pixels) for pixels in pictures.measured]
        figures = [cosines.mean() for cosines in moved] + [min(cosines.min() for cosines in moved)]
        figures += [_recall(run, pictures, k) for k in (1, 10)]
        ratios = [f"{speeds[size][name]:.2f} x" for size in BATCHES]
        print(f"| {name} | {' | '.join([f'{figure:.4f}' for figure in figures] + ratios)} |", flush=True)


def _pictures(artifact: Artifact, drawings: Sequence[Item]) -> Pictures:
    return Pictures(
        photographs=_pixels(artifact, samples.collection().items),
        drawings=_pixels(artifact, drawings),
        groups=np.array([item.group for item in drawings]),
        vendors=np.array([item.rendition for item in drawings]),
        kept=np.array([emoji.split_of(item.group or "") == "test" for item in drawings]),
    )


def _pixels(artifact: Artifact, items: Sequence[Item]) -> NDArray[np.uint8]:
    side = artifact.record.image.side
    decode = decoding.bounded(settings.load())
    decoded = [decode(item.read(), min_side=side).picture for item in items]
    return preprocessing.batch(decoded, artifact.record.image)[0]


def _runs(artifact: Artifact, calibration: NDArray[np.uint8]) -> dict[str, Run]:
    graph = artifact.folder / "image.xml"
    layers = core().read_model(graph).get_ordered_ops()
    spatial = [layer for layer in layers if layer.get_type_name() == "GroupConvolution"]
    convolutions = [layer for layer in layers if "Convolution" in layer.get_type_name()]
    # What follows the last convolution gives the vectors unit length: quantised, it would not.
    tail = [layer for layer in layers[layers.index(convolutions[-1]) + 1 :] if _computes(layer)]
    after = [layer for layer in tail if layer.get_type_name() not in ("Add", "Clamp")]
    exempt = {
        "all but the end": after,
        "all but the end and the first block": [*after, *convolutions[:3]],
        "all but the end and spatial filters": [*after, *convolutions[:1], *spatial],
    }
    quantised = {f"8 bits, {name}": _quantised(graph, kept, calibration) for name, kept in exempt.items()}
    return {
        "float32": _run(core().read_model(graph), "f32"),
        "bfloat16": _run(core().read_model(graph), "bf16"),
        **{name: _run(model, "bf16") for name, model in quantised.items()},
    }


def _computes(layer: Any) -> bool:
    return layer.get_type_name() not in ("Constant", "Convert", "Result")


def _quantised(graph: Any, kept: Sequence[Any], calibration: NDArray[np.uint8]) -> Any:
    try:
        nncf = importlib.import_module("nncf")
    except ImportError as error:
        raise SettingsError(
            "This measurement needs NNCF. Install it with `pip install nncf==3.4.0`."
        ) from error
    return nncf.quantize(
        core().read_model(graph),
        nncf.Dataset([picture[None] for picture in calibration]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(names=[layer.get_friendly_name() for layer in kept], validate=False),
    )


def _run(model: Any, precision: str) -> Run:
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    request = core().compile_model(model, "CPU", config).create_infer_request()
    return lambda pixels: np.array(request.infer({0: pixels})[0], np.float32)


def _vectors(run: Run, pixels: NDArray[np.uint8]) -> Vectors:
    rows = np.concatenate([run(pixels[start : start + 8]) for start in range(0, len(pixels), 8)])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _cosines(run: Run, reference: Run, pixels: NDArray[np.uint8]) -> Vectors:
    """Between this precision's vectors and float32's."""
    return np.asarray(np.einsum("nd,nd->n", _vectors(run, pixels), _vectors(reference, pixels)), np.float32)


def _recall(run: Run, pictures: Pictures, k: int) -> float:
    """How often a drawing finds the other vendor's among the first k."""
    vectors = _vectors(run, pictures.drawings)
    similarities = np.where(pictures.vendors[:, None] == pictures.vendors, -np.inf, vectors @ vectors.T)
    first = np.argsort(-similarities[pictures.kept], axis=1, kind="stable")[:, :k]
    return float((pictures.groups[first] == pictures.groups[pictures.kept, None]).any(axis=1).mean())


def _speeds(runs: dict[str, Run], pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Times as fast as bfloat16: the median of rounds in which all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS):
        for name in np.random.default_rng(number).permutation(list(runs)):
            seconds[name].append(_seconds(runs[name], pixels))
    return {name: float(np.median(np.divide(seconds["bfloat16"], own))) for name, own in seconds.items()}


def _seconds(run: Run, pixels: NDArray[np.uint8]) -> float:
    run(pixels)
    started = time.perf_counter()
    for _ in range(16 // len(pixels)):
        run(pixels)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
