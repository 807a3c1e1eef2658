"""How many floating-point operations per second the processor's matrix units do, and a graph needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from shared.embedding.engines.openvino_compilation import core
from shared.embedding.engines.openvino_runtime import ov

SIDE = 1024  # of the square matrices: three of them in float32 are 12 MB


class Multiplication:
    """Products of two square matrices in OpenVINO, one of them constant as a model's weights are."""

    def __init__(self, precision: str):
        self.flops = 2 * SIDE**3
        random = np.random.default_rng(0)
        self._left: NDArray[np.float32] = random.standard_normal((SIDE, SIDE), np.float32)
        given = ov.opset13.parameter([SIDE, SIDE], np.float32)
        weights = ov.opset13.constant(random.standard_normal((SIDE, SIDE), np.float32))
        product = ov.opset13.matmul(given, weights, False, False)
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        model = ov.Model([product], [given], "multiplication")
        self._request = core().compile_model(model, "CPU", config).create_infer_request()

    def __call__(self) -> None:
        self._request.infer([self._left], share_inputs=True, share_outputs=True)


def flops_per_image(graph: Path) -> float:
    """Floating-point operations of the products in `graph` (convolutions, matrices, attention), per image.

    A multiplication and an addition count as two. Other operations (activations, norms) aren't counted.
    """
    model = core().read_model(graph)
    model.reshape({port: _one(port) for port in model.inputs})
    return float(sum(_flops(operation) for operation in model.get_ops()))


def _one(port: Any) -> Any:
    return ov.PartialShape([1, *list(port.get_partial_shape())[1:]])


def _flops(operation: Any) -> int:
    kind = operation.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul", "ScaledDotProductAttention"):
        return 0
    made = int(np.prod(_shape(operation.output(0))))
    if kind == "MatMul":
        left = _shape(operation.input(0))
        return 2 * made * left[-2 if operation.get_attributes()["transpose_a"] else -1]
    if kind == "ScaledDotProductAttention":
        query, key = _shape(operation.input(0)), _shape(operation.input(1))
        return 2 * key[-2] * (int(np.prod(query)) + made)
    # A filter's own size, of one output channel: all of it but the dimensions that the output has.
    weights = _shape(operation.input(1))
    return 2 * made * int(np.prod(weights[1:] if kind == "Convolution" else weights[2:]))


def _shape(port: Any) -> list[int]:
    return cast(list[int], list(port.get_shape()))
