"""Exported models that tell colours: small ONNX graphs, their tokenizer and their model.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

SIZE, DIMENSIONS, LENGTH = 16, 8, 6
# A colour's name means its own three channels, on the scale -1 to 1.
COLOURS = {
    "red": (1, -1, -1),
    "green": (-1, 1, -1),
    "blue": (-1, -1, 1),
    "a": (0, 0, 0),
    "rock": (0.2, 0.1, 0),
}
VOCABULARY = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *COLOURS])}


def write(folder: Path, **changes: Any) -> Path:
    """A whole and right one; `changes` go into its model.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "image.onnx", image_graph())
    save(folder / "text.onnx", text_graph())
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.json").write_text(json.dumps(description() | changes))
    return folder


def description() -> dict[str, Any]:
    text = {"length": LENGTH, "padding": "max_length", "pad_id": 0, "lower_case": True}
    shape = {"dimensions": DIMENSIONS, "size": SIZE, "resize": "stretch"}
    return shape | {"mean": [0.5] * 3, "std": [0.5] * 3, "licence": "CC0-1.0", "text": text}


def image_graph(dimensions: int = DIMENSIONS, *more: Any) -> onnx.ModelProto:
    """The mean of each channel, and a little of each pixel; `more` nodes go from vectors to vectors."""
    weights = np.random.default_rng(3).normal(0, 1e-3, (3, SIZE * SIZE, dimensions))
    weights[:, :, :3] += np.eye(3)[:, None] / SIZE**2
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["made"]),
    ]
    shape = ["n", 3, SIZE, SIZE]
    return _model("image", TensorProto.FLOAT, shape, nodes, more, w=weights.reshape(-1, dimensions))


def text_graph(dimensions: int = DIMENSIONS) -> onnx.ModelProto:
    """The sum of the words' colours."""
    words = np.random.default_rng(4).normal(0, 0.05, (len(VOCABULARY), dimensions))
    words[2:, :3] += np.array(list(COLOURS.values()))
    nodes = [
        helper.make_node("Gather", ["w", "input"], ["each"]),
        helper.make_node("ReduceSum", ["each", "axes"], ["made"], keepdims=0),
    ]
    return _model("text", TensorProto.INT64, ["n", LENGTH], nodes, (), w=words, axes=np.array([1]))


def _model(
    name: str, kind: int, shape: list[Any], nodes: list[Any], more: tuple[Any, ...], **constants: Any
) -> onnx.ModelProto:
    held = [
        numpy_helper.from_array(value.astype(np.int64 if key == "axes" else np.float32), key)
        for key, value in constants.items()
    ]
    dimensions = constants["w"].shape[-1]
    last = more or (helper.make_node("Identity", ["made"], ["vectors"]),)
    graph = helper.make_graph(
        [*nodes, *last],
        name,
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", dimensions])],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def save(path: Path, graph: onnx.ModelProto) -> None:
    onnx.checker.check_model(graph)
    onnx.save(graph, path)
