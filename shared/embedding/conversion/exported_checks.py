"""Whether an exported model's towers keep the promises of its model.json, tried on pictures and texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.embedding import preprocessing, tokens
from shared.embedding.engines.openvino_compilation import core
from shared.embedding.engines.openvino_runtime import reason
from shared.embedding.exported import IMAGE, TEXT, Exported
from shared.embedding.model_json import wrong
from shared.embedding.precision_check import TEXTS, pictures
from shared.errors import ImageError, ModelBroken, NotAnImage
from shared.images import Decode, image_files

SAME = 0.9999  # cosine of two runs of the same input, alone or in a batch
# Cosine to the authors' vectors; resizing once instead of twice moves images.
AGREES = {"images": 0.99, "texts": 0.999}
DIFFERENT = 0.999999  # cosine of unlike pictures or texts, at most

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[Any]], Vectors]


def check(model: Exported, decode: Decode, max_bytes: int) -> dict[str, float]:
    """The least cosine of each comparison. ModelBroken where a tower fails.

    `decode` gets the reference's pictures, regular files of the folder of at most `max_bytes`.
    """
    found = _check_tower(model, IMAGE, images_of(model), pictures())
    if model.text:
        found |= _check_tower(model, TEXT, texts_of(model), TEXTS)
    return found | _agreement(model, lambda file: _picture(model, file, decode, max_bytes))


def images_of(model: Exported) -> Embed:
    """The image tower in float32, on decoded pictures."""
    run = _runner(model, IMAGE, model.image)
    return lambda shown: run(preprocessing.batch(shown, model.record.image))


def texts_of(model: Exported) -> Embed:
    """The text tower in float32, on texts."""
    run, how, tokenizer = _runner(model, TEXT, model.text), model.record.text, model.tokenizer
    assert how and tokenizer
    return lambda shown: run(tokens.batch(shown, tokenizer, how))


def _runner(model: Exported, file: str, graph: Any) -> Callable[[Sequence[NDArray[Any]]], Vectors]:
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: Sequence[NDArray[Any]]) -> Vectors:
        try:
            return np.array(compiled(dict(enumerate(inputs)))[0], np.float32)
        except RuntimeError as error:
            expected = f"a tower that takes {len(inputs[0])} at a time"
            raise _wrong(model, file, expected, reason(error)) from error

    return run


def _check_tower(model: Exported, file: str, embed: Embed, shown: Sequence[Any]) -> dict[str, float]:
    once = embed(shown)
    if once.shape != (expected := (len(shown), model.record.dimensions)):
        raise _wrong(model, file, f"vectors of the shape {expected}", f"{once.shape}")
    if not np.isfinite(once).all():
        raise _wrong(model, file, "vectors of finite numbers, not all of them 0", "others")
    again = _least(once, embed(shown))
    if not again >= SAME:  # nor where it is NaN
        raise _wrong(model, file, "the same vectors of the same input", f"a cosine of {again:.4f}")
    alone = _least(once, np.concatenate([embed([one]) for one in shown]))
    if not alone >= SAME:
        raise _wrong(model, file, "the same vectors alone as in a batch", f"a cosine of {alone:.4f}")
    if (alike := _most_alike(once)) > DIFFERENT:
        raise _wrong(model, file, "unlike vectors of unlike inputs", f"a cosine of {alike:.7f}")
    return {f"{file}: twice": again, f"{file}: alone and in a batch": alone}


def _agreement(model: Exported, picture: Callable[[str], Image.Image]) -> dict[str, float]:
    """With the vectors that the authors' own code made, where model.json has some."""
    found = {}
    if images := model.reference.get("images"):
        shown = images_of(model)([picture(file) for file in images])
        found["images"] = _agree(model, IMAGE, shown, list(images.values()))
    if texts := model.reference.get("texts"):
        if not model.text:
            raise _wrong(model, TEXT, "a text tower, for the reference's texts", "none")
        found["texts"] = _agree(model, TEXT, texts_of(model)(list(texts)), list(texts.values()))
    for kind, least in found.items():
        if not least >= AGREES[kind]:
            expected = f"{kind} within a cosine of {AGREES[kind]} of the reference in model.json"
            raise _wrong(model, IMAGE if kind == "images" else TEXT, expected, f"{least:.4f}")
    return {f"{kind}: to the authors' vectors": least for kind, least in found.items()}


def _picture(model: Exported, file: str, decode: Decode, max_bytes: int) -> Image.Image:
    try:
        if (path := PurePath(file)).is_absolute() or ".." in path.parts:
            raise NotAnImage("It lies outside the folder.")
        data = image_files.read(Path(model.record.model) / path, max_bytes)
        return decode(data, min_side=None).picture
    except (ImageError, OSError, ValueError) as error:  # a name may have zero bytes
        raise _wrong(model, file, "a picture, which the reference names", str(error)) from error


def _agree(model: Exported, file: str, ours: Vectors, theirs: list[list[float]]) -> float:
    if any(len(vector) != ours.shape[1] for vector in theirs):
        found = ", ".join(str(len(vector)) for vector in theirs)
        raise _wrong(model, file, f"reference vectors of {ours.shape[1]} dimensions", found)
    return _least(ours, np.array(theirs, np.float32))


def _least(one: Vectors, other: Vectors) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float((np.einsum("nd,nd->n", one, other) / lengths).min())


def _most_alike(vectors: Vectors) -> float:
    return float((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].max())


def _wrong(model: Exported, file: str, expected: str, found: str) -> ModelBroken:
    return wrong(Path(model.record.model), file, expected, found)
