"""What the models of docs/models.md cost: image towers of their shapes, with random weights, in OpenVINO.

python -m benchmarks.baselines.shapes
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from shared.embedding.engines.openvino_compilation import core, native_precision
from shared.embedding.engines.openvino_runtime import ov

RUNS = 5


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A vision transformer's: costs depend on it alone, not on who trained it on what."""

    width: int
    layers: int
    heads: int
    inner: int
    patch: int
    side: int


SHAPES = {
    "ViT-S/14, 224": Shape(width=384, layers=12, heads=6, inner=1536, patch=14, side=224),
    "ViT-B/32, 224": Shape(width=768, layers=12, heads=12, inner=3072, patch=32, side=224),
    "ViT-B/32, 256": Shape(width=768, layers=12, heads=12, inner=3072, patch=32, side=256),
    "ViT-B/16, 224": Shape(width=768, layers=12, heads=12, inner=3072, patch=16, side=224),
    "ViT-L/16, 256": Shape(width=1024, layers=24, heads=16, inner=4096, patch=16, side=256),
    "ViT-L/14, 336": Shape(width=1024, layers=24, heads=16, inner=4096, patch=14, side=336),
    "So400m/14, 384": Shape(width=1152, layers=27, heads=16, inner=4304, patch=14, side=384),
}


class Tower(torch.nn.Module):
    """The vector of a picture."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> Any:
        return self.model(pixel_values=pixels).pooler_output


def seconds(shape: Shape) -> float:
    """Processor time of one image, decoded already, in the precision that serves here."""
    config = SiglipVisionConfig(
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        patch_size=shape.patch,
        image_size=shape.side,
    )
    pixels = torch.zeros((1, 3, shape.side, shape.side))
    with torch.inference_mode():
        graph = ov.convert_model(Tower(SiglipVisionModel(config).train(False)), example_input=pixels)
    settings = {"INFERENCE_PRECISION_HINT": native_precision(), "INFERENCE_NUM_THREADS": 1}
    run = core().compile_model(graph, "CPU", settings).create_infer_request()
    run.infer([pixels.numpy()])
    began = time.process_time()
    for _ in range(RUNS):
        run.infer([np.asarray(pixels)])
    return (time.process_time() - began) / RUNS


if __name__ == "__main__":
    print(f"{core().get_property('CPU', 'FULL_DEVICE_NAME')}, {native_precision()}, one thread")
    for name, shape in SHAPES.items():
        print(f"{name:16} {seconds(shape) * 1000:6.0f} ms of processor time an image", flush=True)
