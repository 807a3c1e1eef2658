"""`python -m shared.embedding.conversion.convert NAME`: make the files that the openvino engine serves NAME
from.

A process of its own, so that torch's memory never belongs to one that serves.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.embedding import artifacts, openvino_precision, preprocessing, registry
from shared.embedding.conversion import converter_process
from shared.embedding.conversion.opening import open_source
from shared.embedding.engines.openvino_runtime import ov
from shared.embedding.families import Padding
from shared.embedding.towers import Source


def convert(name: str, cache: Path) -> None:
    """Write the model's graphs, tokenizer and record, and compile them for this processor."""
    source = open_source(name)
    with artifacts.written(name, cache) as folder:
        _save(source, folder)
    openvino_precision.compile_trusted(name, cache)


def _save(source: Source, folder: Path) -> None:
    _save_graph(source.image, image_example(source), folder / artifacts.IMAGE_GRAPH)
    if source.text and source.tokenizer:
        free = 1 if source.record.text and source.record.text.padding == Padding.max_length else 2
        _save_graph(source.text, text_example(source), folder / "text.xml", free)
        (folder / artifacts.TOKENIZER).write_text(source.tokenizer, "utf-8")
    record = replace(source.record, conversion=registry.CONVERSION)
    (folder / artifacts.RECORD).write_text(record.to_json(), "utf-8")


def image_example(source: Source) -> tuple[torch.Tensor, ...]:
    """Two grey pictures as the image tower takes them."""
    inputs = preprocessing.batch(preprocessing.grey_pictures(2), source.record.image)
    return tuple(torch.from_numpy(array) for array in inputs)


def text_example(source: Source) -> tuple[torch.Tensor, ...]:
    """Two texts as the text tower takes them."""
    assert source.record.text
    length = source.record.text.max_length if source.record.text.padding == Padding.max_length else 5
    ids = torch.zeros((2, length), dtype=torch.int64)
    return (ids, torch.ones_like(ids)) if source.record.text.attention_mask else (ids,)


def _save_graph(tower: torch.nn.Module, example: tuple[torch.Tensor, ...], path: Path, free: int = 1) -> None:
    # The first `free` dimensions may be of any length.
    shapes = [_shape(tensor, free) for tensor in example]
    with torch.inference_mode():
        graph = ov.convert_model(tower, example_input=example, input=shapes)
    # Half-precision weights, most of them token embeddings, halve a text tower and move its vectors by 1e-6
    # in cosine; image vectors would move by up to 1e-4.
    ov.save_model(graph, path, compress_to_fp16=path.stem == "text")


def _shape(example: torch.Tensor, free: int) -> Any:
    kind = ov.Type(np.dtype(str(example.dtype).removeprefix("torch.")))
    return (ov.PartialShape([-1] * free + list(example.shape[free:])), kind)


if __name__ == "__main__":
    # torch's threads spin while they wait for each other: on a busy machine, one is faster than two.
    torch.set_num_threads(1)
    sys.exit(converter_process.main(convert))
