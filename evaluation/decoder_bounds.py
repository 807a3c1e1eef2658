"""How images are decoded: within the bounds that the settings give."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shared import images
from shared.images import DecodedImage
from shared.settings import Settings

Decode = Callable[..., DecodedImage]  # (data, *, min_side)


def bounded(configuration: Settings) -> Decode:
    return partial(
        images.decode,
        max_bytes=configuration.max_image_bytes,
        max_pixels=configuration.max_image_pixels,
    )
