"""Random numbers that depend on their purpose, and on nothing that happened before."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """The same numbers for this seed and purpose on every machine, regardless of earlier draws."""
    digest = hashlib.sha256("\0".join([str(seed), *purpose]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def sample(count: int, size: int, seed: int, *purpose: str) -> list[int]:
    """`size` of the positions 0 to count - 1 (all where there are no more), ascending."""
    if count <= size:
        return list(range(count))
    return sorted(generator(seed, *purpose).choice(count, size, replace=False).tolist())
