"""A model's properties besides its weights: record.json beside a converted model."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from shared.embedding.families import Padding

# How many times larger than a tower's input pictures are decoded at least. JPEG's own scaling blurs: at just
# the input's size, vectors were off by 0.035 in cosine at worst (against decoding in full), at twice the size
# by 0.011, here by 0.005. A little under 3, so that 4000 x 3000 pixels are still decoded at a quarter.
DECODING_MARGIN = 2.9
FORMAT = 1  # raise it when a field changes its meaning: older folders are then converted anew


class Resize(StrEnum):
    """How a picture gets the size that the image tower takes."""

    shortest = "shortest"  # the shorter side to `edge`, then a centre crop of `size`
    stretch = "stretch"  # to `size`, from any shape
    crop = "crop"  # a centre square, then to `size`
    pad = "pad"  # the whole picture in the middle of a white square of `size`
    patches = "patches"  # as many patches as fit, in its own shape


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """How a picture becomes the image tower's input."""

    resize: Resize
    size: tuple[int, int]  # the tower's height and width, in pixels
    edge: int  # shortest: length of the shorter side after resizing; crop: side that `size` is cut out of
    resample: int  # PIL.Image.Resampling
    mean: tuple[float, ...]  # per channel, on the scale 0 to 255
    std: tuple[float, ...]
    pooling: str  # how the tower makes one vector of an image; for people who read the record
    patch: int = 0  # patches: side of one patch
    max_patches: int = 0  # patches: how many of them an image becomes at most
    grid: int = 0  # patches: side of the position embeddings' own grid

    @property
    def side(self) -> int:
        """The shorter side, in pixels, that a picture should have at least before it is resized."""
        return math.ceil(DECODING_MARGIN * max(self.edge, *self.size))


@dataclass(frozen=True, kw_only=True)
class TextInput:
    """How a text becomes the text tower's input. Truncation and padding themselves are in tokenizer.json."""

    max_length: int  # tokens; longer texts are cut off
    padding: Padding
    attention_mask: bool  # whether the tower takes a mask of the padding


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One model's record."""

    model: str  # its name when it was loaded
    architecture: str  # the model_type of the checkpoint's configuration
    dimensions: int
    image: ImageInput
    text: TextInput | None  # None: this model can't embed texts
    conversion: int = 4  # `registry.CONVERSION` when it was made; the first records don't say
    licence: str | None = None  # of the weights, where the model's own files name it

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT} | asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """ValueError, TypeError or KeyError where `text` isn't a record of this format."""
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"Expected a record of format {FORMAT}, found {data['format']!r}.")
        image: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["image"].items()}
        return cls(
            model=data["model"],
            architecture=data["architecture"],
            dimensions=data["dimensions"],
            image=ImageInput(**image | {"resize": Resize(image["resize"])}),
            text=_text(data["text"]) if data["text"] else None,
            conversion=data.get("conversion", cls.conversion),
            licence=data.get("licence"),
        )


def _text(data: dict[str, Any]) -> TextInput:
    return TextInput(**data | {"padding": Padding(data["padding"])})
