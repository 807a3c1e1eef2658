"""The reference engine, and the one for GPUs: the model's own torch modules."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.embedding.towers import Source
from shared.errors import SettingsError


class TorchEngine:
    """Runs a model's towers in torch; safe to call from several threads."""

    name = "torch"
    joins_calls = True  # its cost per operation is shared: 0.7 of the processor's time per image on two cores

    def __init__(self, source: Source, device: str, precision: str | None = None):
        self.device = device
        # A GPU computes in half precision many times faster; torch decides which operations stay in float32.
        # Not float16, whose range some models' activations leave: they give NaN.
        self.precision = precision or ("bf16" if self.device == "cuda" else "f32")
        self.batch_size = 64 if self.device == "cuda" else 8
        self._image = source.image.to(self.device)
        self._text = source.text.to(self.device) if source.text else None

    def images(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return self._run(self._image, inputs)

    def texts(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        assert self._text
        return self._run(self._text, inputs)

    def _run(self, tower: torch.nn.Module, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        with torch.inference_mode(), self._half_precision():
            output: torch.Tensor = tower(*(torch.from_numpy(array).to(self.device) for array in inputs))
        vectors: NDArray[np.float32] = output.float().cpu().numpy()
        return vectors

    def _half_precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")


def choose_device(wanted: str) -> str:
    """cpu or cuda, for EMBEDDING_DEVICE. SettingsError where that isn't there."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise SettingsError(
            "EMBEDDING_DEVICE is 'cuda', but torch finds no GPU. Install its driver and a CUDA build of "
            "torch, or set EMBEDDING_DEVICE=cpu."
        )
    return "cuda" if available and wanted != "cpu" else "cpu"
