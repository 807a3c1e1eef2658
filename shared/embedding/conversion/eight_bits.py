"""A converted model's image side in 8 bits: post-training quantisation by NNCF. Not for serving."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from shared.embedding.engines.openvino_compilation import core
from shared.embedding.engines.openvino_runtime import ov

# After openvino_runtime, without which NNCF would report its use over the network.
import nncf  # isort: skip

PRODUCTS = {"Convolution", "GroupConvolution", "MatMul"}
FUSED = {"Add", "Clamp"}  # a product's bias and activation, which belong to it
PASSIVE = {"Constant", "Convert", "Result"}
ATTENTION = {"ScaledDotProductAttention", "Softmax"}
FIRST_LAYERS = 3


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A choice of layers to compute in 8 bits."""

    name: str
    kept: tuple[str, ...]  # layers that stay as they are


def schemes(graph: Path) -> list[Scheme]:
    """The ways that are worth a try, the fastest first and the most exact last."""
    layers = core().read_model(graph).get_ordered_ops()
    products = [layer for layer in layers if layer.get_type_name() in PRODUCTS]
    spatial = [layer for layer in layers if layer.get_type_name() == "GroupConvolution"]
    end = _end(layers)
    found = [
        Scheme(name="8 bits, all but the end", kept=_names(end)),
        Scheme(
            name=f"8 bits, the first {FIRST_LAYERS} layers neither",
            kept=_names([*end, *products[:FIRST_LAYERS]]),
        ),
    ]
    if spatial:
        kept = _names([*end, products[0], *spatial])
        found.append(Scheme(name="8 bits, the spatial filters neither", kept=kept))
    return found


def quantise(graph: Path, scheme: Scheme, inputs: Sequence[NDArray[Any]], target: Path) -> None:
    """Write the graph in 8 bits to `target`. `inputs`, the tower's, tell the range of each layer's values."""
    model = core().read_model(graph)
    kinds = {layer.get_type_name() for layer in model.get_ordered_ops()}
    nncf.set_log_level(logging.ERROR)  # else it tells of each layer that stays as it is
    with redirect_stdout(sys.stderr):  # its progress bars
        made = nncf.quantize(
            model,
            nncf.Dataset([tuple(array[one : one + 1] for array in inputs) for one in range(len(inputs[0]))]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs[0]),
            model_type=nncf.ModelType.TRANSFORMER if kinds & ATTENTION else None,
            ignored_scope=nncf.IgnoredScope(names=list(scheme.kept), validate=False),
        )
    ov.save_model(made, target, compress_to_fp16=False)


def _end(layers: Sequence[Any]) -> list[Any]:
    """The layers behind the last product, which give the vectors unit length; in 8 bits they would not."""
    kinds = [layer.get_type_name() for layer in layers]
    last = max(place for place, kind in enumerate(kinds) if kind in PRODUCTS)
    return [layers[place] for place in range(last + 1, len(layers)) if kinds[place] not in FUSED | PASSIVE]


def _names(layers: Sequence[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer.get_friendly_name() for layer in layers))
