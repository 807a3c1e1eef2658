"""The cost of the models of docs/models.md: image towers of their shapes, random weights, in OpenVINO.

python -m benchmarks.baselines.shapes [SHAPE…]

Each takes turns with the default model, so that the machine's other work falls on both. The shapes that
timm defines need it installed; without it they are passed over.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from shared.embedding.engines.openvino_compilation import core, native_precision
from shared.embedding.engines.openvino_runtime import ov

ROUNDS = 7
DEFAULT = "EfficientNet-Lite0, 224"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A vision transformer's: costs depend on it alone, not on its training."""

    width: int
    layers: int
    heads: int
    inner: int
    patch: int
    side: int

    def open(self) -> torch.nn.Module:
        """Pixels to the vector of a picture."""
        config = SiglipVisionConfig(
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.inner,
            patch_size=self.patch,
            image_size=self.side,
        )
        return Pooled(SiglipVisionModel(config))


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """One that a package defines."""

    package: str
    name: str
    side: int

    def open(self) -> torch.nn.Module:
        """Pixels to the features of a picture."""
        package: Any = import_module(self.package)  # none of this project's needs timm
        if self.package == "timm":
            network: torch.nn.Module = package.create_model(self.name, pretrained=False, num_classes=0)
        else:
            network = package.EfficientNet.from_name(self.name)
        return network


SHAPES: dict[str, Shape | Packaged] = {
    DEFAULT: Packaged(package="efficientnet_lite_pytorch", name="efficientnet-lite0", side=224),
    "FastViT-MCi0, 256": Packaged(package="timm", name="fastvit_mci0", side=256),
    "ViT-S/16, 224": Shape(width=384, layers=12, heads=6, inner=1536, patch=16, side=224),
    "ViT-S/14, 224": Shape(width=384, layers=12, heads=6, inner=1536, patch=14, side=224),
    "ViT-B/32, 224": Shape(width=768, layers=12, heads=12, inner=3072, patch=32, side=224),
    "ViT-B/32, 256": Shape(width=768, layers=12, heads=12, inner=3072, patch=32, side=256),
    "ViT-B/16, 224": Shape(width=768, layers=12, heads=12, inner=3072, patch=16, side=224),
    "ViT-B/14, 224": Shape(width=768, layers=12, heads=12, inner=3072, patch=14, side=224),
    "ViT-L/16, 256": Shape(width=1024, layers=24, heads=16, inner=4096, patch=16, side=256),
    "ViT-L/14, 336": Shape(width=1024, layers=24, heads=16, inner=4096, patch=14, side=336),
    "ViT-H/14, 224": Shape(width=1280, layers=32, heads=16, inner=5120, patch=14, side=224),
    "So400m/14, 384": Shape(width=1152, layers=27, heads=16, inner=4304, patch=14, side=384),
}


class Pooled(torch.nn.Module):
    """The vector of a picture."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> Any:
        return self.model(pixel_values=pixels).pooler_output


def runner(shape: Shape | Packaged) -> Callable[[], float]:
    """Embeds one image, decoded already, in the precision that serves here: seconds of the processor."""
    pixels = torch.zeros((1, 3, shape.side, shape.side))
    with torch.inference_mode():
        graph = ov.convert_model(shape.open().train(False), example_input=pixels)
    settings = {"INFERENCE_PRECISION_HINT": native_precision(), "INFERENCE_NUM_THREADS": 1}
    request = core().compile_model(graph, "CPU", settings).create_infer_request()
    return partial(_seconds, request, np.asarray(pixels))


def _seconds(request: Any, pixels: np.ndarray) -> float:
    began = time.process_time()
    request.infer([pixels])
    return time.process_time() - began


def measure(run: Callable[[], float], default: Callable[[], float]) -> tuple[float, float]:
    """Milliseconds of an image, and how many times the default model's."""
    run(), default()
    pairs = [(run(), median(default() for _ in range(5))) for _ in range(ROUNDS)]
    return median(own for own, _ in pairs) * 1000, median(own / usual for own, usual in pairs)


def main(wanted: list[str]) -> None:
    print(f"{core().get_property('CPU', 'FULL_DEVICE_NAME')}, {native_precision()}, one thread")
    default = runner(SHAPES[DEFAULT])
    for name in wanted or SHAPES:
        shape = SHAPES[name]
        if isinstance(shape, Packaged) and not find_spec(shape.package):
            print(f"{name:24} needs {shape.package}", flush=True)
            continue
        milliseconds, times = measure(runner(shape), default)
        print(f"{name:24} {milliseconds:6.0f} ms of processor time an image, {times:6.1f} x", flush=True)
        gc.collect()


if __name__ == "__main__":
    main(sys.argv[1:])
