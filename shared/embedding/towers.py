"""A model as torch modules, the reference for both engines. Imports torch: not for the CPU's serving path."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from shared.embedding.model_config import ImageInput, ModelConfig


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model's towers, in float32 and evaluation mode."""

    record: ModelConfig
    image: nn.Module  # (n, height, width, 3) uint8 -> (n, dimensions) of unit length
    text: nn.Module | None  # (n, length) token ids [, mask] -> (n, dimensions) of unit length
    tokenizer: str | None  # tokenizer.json, with truncation and padding set


class Normalise(nn.Module):
    """(n, height, width, 3) uint8 -> (n, 3, height, width), scaled by the record.

    Part of the tower: only one byte per value is copied to the device, and the engine can fuse the rest.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, how: ImageInput):
        super().__init__()
        self.register_buffer("mean", torch.tensor(how.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(how.std).view(1, -1, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Rows of unit length. In float32: half precision would leave them off by a thousandth."""
    return nn.functional.normalize(vectors.float(), dim=-1)
