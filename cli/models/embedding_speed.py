"""How fast a model embeds on this machine, measured briefly."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from shared.embedding import Embedder

SECONDS = 1.0
SIDE = 512  # pixels of the pictures


def measure(embedder: Embedder) -> float:
    """Images per second, decoded ones, in batches: without download, decoding and storing."""
    pictures = [_picture(number) for number in range(embedder.engine.batch_size)]
    embedder.embed_images(pictures)  # the first call allocates
    began, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < SECONDS:
        embedder.embed_images(pictures)
        done += len(pictures)
    return done / elapsed


def _picture(number: int) -> Image.Image:
    return Image.radial_gradient("L").resize((SIDE, SIDE)).rotate(number * 10).convert("RGB")
