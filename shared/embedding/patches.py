"""Pictures as patches that keep their aspect ratio, as SigLIP 2 (NaFlex) takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.embedding.model_config import ImageInput


def batch(pictures: Sequence[Image.Image], how: ImageInput) -> list[NDArray[Any]]:
    """The tower's inputs: patches (n, max_patches, values) of bytes, matrices that resize its position
    embeddings (n, max_patches, grid x grid) in float32, and a mask of the patches (n, max_patches) in int64.
    """
    grids = [grid_of(picture.width, picture.height, how) for picture in pictures]
    patches = np.stack([_patches(picture, grid, how) for picture, grid in zip(pictures, grids, strict=True)])
    resizing = np.stack([_resizing(grid, how) for grid in grids])
    mask = np.stack([np.arange(how.max_patches) < rows * columns for rows, columns in grids])
    return [patches, resizing, mask.astype(np.int64)]


def grid_of(width: int, height: int, how: ImageInput) -> tuple[int, int]:
    """Rows and columns: the largest scale at which the patches that cover the picture are few enough.

    The bisection, and its bounds, are those of transformers' Siglip2ImageProcessor: another search would
    round some pictures to another grid.
    """
    precision = 1e-5
    smallest, largest = precision / 10, 100.0
    while largest - smallest >= precision:
        scale = (smallest + largest) / 2
        rows, columns = _grid_at(scale, width, height, how.patch)
        smallest, largest = (scale, largest) if rows * columns <= how.max_patches else (smallest, scale)
    return _grid_at(smallest, width, height, how.patch)


def _grid_at(scale: float, width: int, height: int, patch: int) -> tuple[int, int]:
    return max(1, math.ceil(height * scale / patch)), max(1, math.ceil(width * scale / patch))


def _patches(picture: Image.Image, grid: tuple[int, int], how: ImageInput) -> NDArray[np.uint8]:
    (rows, columns), side = grid, how.patch
    resized = picture.resize((columns * side, rows * side), Image.Resampling(how.resample))
    tiles = np.asarray(resized, dtype=np.uint8).reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
    padded = np.zeros((how.max_patches, side * side * 3), np.uint8)
    padded[: rows * columns] = tiles.reshape(rows * columns, -1)
    return padded


def _resizing(grid: tuple[int, int], how: ImageInput) -> NDArray[np.float32]:
    rows, columns = grid
    matrix = np.zeros((how.max_patches, how.grid**2), np.float32)
    matrix[: rows * columns] = np.kron(_interpolation(how.grid, rows), _interpolation(how.grid, columns))
    return matrix


def _interpolation(source: int, target: int) -> NDArray[np.float64]:
    """Linear, antialiased resizing of `source` values to `target` as a matrix, like torch's interpolate."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = scale * (np.arange(target)[:, None] + 0.5)
    distances = np.abs(np.arange(source)[None] + 0.5 - centres) / reach
    weights = np.clip(1 - distances, 0, None)
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised
