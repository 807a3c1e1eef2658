"""Exported models: a folder with image.onnx, text.onnx, tokenizer.json and a model.json that describes them.

Read by OpenVINO: neither torch nor anybody's code is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from shared.embedding import model_json, registry, tokens
from shared.embedding.engines.openvino_compilation import core
from shared.embedding.engines.openvino_runtime import ov, reason
from shared.embedding.families import Padding
from shared.embedding.model_config import ImageInput, ModelConfig, Resize, TextInput
from shared.embedding.model_json import RESAMPLES, Description, Texts, wrong

IMAGE, TEXT, TOKENIZER = registry.IMAGE_TOWER, "text.onnx", "tokenizer.json"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model's towers as OpenVINO graphs that take bytes and token ids and give vectors of unit length."""

    record: ModelConfig
    image: Any
    text: Any | None
    tokenizer: Tokenizer | None
    reference: dict[str, dict[str, list[float]]]


def open_folder(name: str) -> Exported:
    """The folder's model. ModelBroken, saying how, where its files are wrong."""
    folder = Path(name)
    told = model_json.read(folder)
    image = _image_graph(folder, told)
    tokenizer = _tokenizer(folder, told.text) if told.text else None
    text = _text_graph(folder, told) if told.text else None
    if told.text is None and (folder / TEXT).exists():
        raise wrong(folder, TEXT, 'a "text" in model.json that says how texts are prepared', "none")
    return Exported(
        record=_record(name, told, text),
        image=image,
        text=text,
        tokenizer=tokenizer,
        reference=told.reference or {},
    )


def _record(name: str, told: Description, text: Any) -> ModelConfig:
    image = ImageInput(
        resize=Resize(told.resize),
        size=(told.size, told.size),
        edge=0 if told.resize == Resize.stretch else told.edge or told.size,
        resample=int(RESAMPLES[told.resample]),
        mean=tuple(value * 255 for value in told.mean),
        std=tuple(value * 255 for value in told.std),
        pooling="as exported",
    )
    return ModelConfig(
        model=name,
        architecture="onnx",
        dimensions=told.dimensions,
        image=image,
        text=_text_input(told.text, text) if told.text else None,
        conversion=registry.CONVERSION,
        licence=told.licence,
    )


def _text_input(texts: Texts, graph: Any) -> TextInput:
    return TextInput(
        max_length=texts.length, padding=Padding(texts.padding), attention_mask=len(graph.inputs) > 1
    )


def _tokenizer(folder: Path, how: Texts) -> Tokenizer:
    path = folder / TOKENIZER
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise wrong(folder, path.name, "a tokenizer of the library tokenizers", str(error)) from error
    pad_id = (tokenizer.padding or {}).get("pad_id") if how.pad_id is None else how.pad_id
    pad_token = None if pad_id is None else tokenizer.id_to_token(pad_id)
    if pad_token is None:
        expected = 'a padding token, in its "padding" or as "pad_id" in model.json'
        raise wrong(folder, path.name, expected, "none" if pad_id is None else f"no token {pad_id}")
    if how.lower_case:
        tokenizer.normalizer = tokens.lower_cased(tokenizer.normalizer)
    tokenizer.enable_truncation(how.length)
    tokenizer.enable_padding(
        direction=how.padding_side,
        pad_id=pad_id,
        pad_token=pad_token,
        length=how.length if how.padding == Padding.max_length else None,
    )
    return tokenizer


def _image_graph(folder: Path, told: Description) -> Any:
    graph = _graph(folder, IMAGE, told.dimensions)
    size = ov.PartialShape([-1, 3, told.size, told.size])
    if len(graph.inputs) != 1 or not graph.input().get_partial_shape().compatible(size):
        expected = f"one input of pictures {_shape(size)}, normalised, in float32"
        raise wrong(folder, IMAGE, expected, _inputs(graph))
    return _unit(_from_bytes(graph, told))


def _from_bytes(graph: Any, told: Description) -> Any:
    steps = ov.preprocess.PrePostProcessor(graph)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    to_float = steps.input().preprocess().convert_element_type(ov.Type.f32)
    to_float.mean([value * 255 for value in told.mean]).scale([value * 255 for value in told.std])
    return steps.build()


def _text_graph(folder: Path, told: Description) -> Any:
    assert told.text
    graph = _graph(folder, TEXT, told.dimensions)
    fixed = told.text.padding == Padding.max_length
    shape = ov.PartialShape([-1, told.text.length if fixed else -1])
    names = [each.get_any_name() for each in graph.inputs]
    masked = len(names) == 2 and "mask" in names[1]
    fits = all(each.get_partial_shape().compatible(shape) for each in graph.inputs)
    if not fits or not (len(names) == 1 or masked):
        raise wrong(folder, TEXT, f"token ids {_shape(shape)} and perhaps an attention_mask", _inputs(graph))
    steps = ov.preprocess.PrePostProcessor(graph)
    for number in range(len(names)):
        steps.input(number).tensor().set_element_type(ov.Type.i64)
    return _unit(steps.build())


def _graph(folder: Path, file: str, dimensions: int) -> Any:
    path = folder / file
    if not path.is_file():
        raise wrong(folder, file, "an ONNX file", "none")
    try:
        graph = core().read_model(path)
    except RuntimeError as error:
        raise wrong(folder, file, "an ONNX file that OpenVINO can read", reason(error)) from error
    shape = graph.output(0).get_partial_shape()
    if not shape.compatible(ov.PartialShape([-1, dimensions])):
        raise wrong(folder, file, f"vectors of {dimensions} dimensions, as model.json says", _shape(shape))
    return graph


def _unit(graph: Any) -> Any:
    """The graph with vectors of unit length as its only output."""
    ops = ov.opset13
    first, *others = graph.get_results()
    vectors = ops.convert(first.input_value(0), "f32")
    length = ops.sqrt(ops.reduce_sum(ops.multiply(vectors, vectors), ops.constant([1]), keep_dims=True))
    first.input(0).replace_source_output(ops.divide(vectors, length).output(0))
    for other in others:
        graph.remove_result(other)
    graph.validate_nodes_and_infer_types()
    return graph


def _inputs(graph: Any) -> str:
    return ", ".join(f"{each.get_any_name()} {_shape(each.get_partial_shape())}" for each in graph.inputs)


def _shape(shape: Any) -> str:
    return str(shape).replace("?", "n")
