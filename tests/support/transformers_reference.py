"""The pixels, tokens and vectors of transformers' own processors and models. Importing it takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from support import tiny_checkpoints


def images(folder: Path, pictures: list[Image.Image]) -> np.ndarray:
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        inputs = pixels(folder, pictures)
        if hasattr(model, "get_image_features"):
            return _unit(model.get_image_features(**inputs).pooler_output)
        return _unit(model(**inputs).last_hidden_state[:, 0])


def pixels(folder: Path, pictures: list[Image.Image]) -> dict[str, torch.Tensor]:
    if (folder / "preprocessor_config.json").read_text().find("DINOv3") >= 0:
        return {"pixel_values": torch.stack([_as_dinov3(picture) for picture in pictures])}
    return dict(
        AutoImageProcessor.from_pretrained(folder, backend="pil")(images=pictures, return_tensors="pt")
    )


def tokens(kind: str, folder: Path, texts: list[str]) -> dict[str, torch.Tensor]:
    """As the authors' processor makes them."""
    how = tiny_checkpoints.KINDS[kind]
    tokenizer = (how.tokenizer or AutoTokenizer).from_pretrained(folder)
    processor = how.processor(AutoImageProcessor.from_pretrained(folder, backend="pil"), tokenizer)
    return dict(processor(text=texts, return_tensors="pt", **how.texts))


def texts(kind: str, folder: Path, texts: list[str]) -> np.ndarray:
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return _unit(model.get_text_features(**tokens(kind, folder, texts)).pooler_output)


def _as_dinov3(picture: Image.Image) -> torch.Tensor:
    """DINOv3ViTImageProcessor's steps in torchvision: rescale, resize with antialiasing, normalise."""
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 255
    resized = torch.nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)[0]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (resized - mean[:, None, None]) / std[:, None, None]


def _unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()
