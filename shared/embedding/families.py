"""The families of checkpoints that transformers loads, and how their authors trained them: data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Pooling(StrEnum):
    """How an image tower makes one vector of an image."""

    projected = "projected"  # the model's own image and text features
    class_token = "class token"  # its last state


class Padding(StrEnum):
    """The length that texts are padded to."""

    longest = "longest"  # that of the batch's longest text
    max_length = "max_length"  # always the most tokens that the text tower takes


@dataclass(frozen=True, kw_only=True)
class Texts:
    """A family's training settings for texts: they fill the gaps in a checkpoint's own files."""

    padding: Padding
    side: str = "right"  # of the padding
    length: int  # tokens
    attention_mask: bool  # whether the tower was given a mask of the padding
    lower_case: bool = False  # whether texts were lower-cased before the tokenizer; no file says so
    source: str  # where the authors say so


@dataclass(frozen=True, kw_only=True)
class Family:
    """Checkpoints of one `model_type`."""

    pooling: Pooling
    has_pooler: bool = False  # whether transformers would add a pooler, whose weights may not be there
    texts: Texts | None = None  # None: it has no text side
    # The image processor's defaults, where transformers' own needs torchvision; else empty.
    images: Mapping[str, Any] = field(default_factory=dict)


# SigLIP pools the last position, so the padding is part of the text. SigLIP 2 lower-cases before its
# tokenizer, which is Gemma's and doesn't; SigLIP 1's does it itself. big_vision lower-cases ASCII alone,
# transformers' Siglip2Tokenizer all letters, and so does this.
_SIGLIP = Texts(
    padding=Padding.max_length,
    length=64,
    attention_mask=False,
    lower_case=True,
    source="big_vision SigLIP2_demo.ipynb; transformers Siglip2Tokenizer, Siglip2Processor",
)

FAMILIES = {
    "clip": Family(
        pooling=Pooling.projected,
        texts=Texts(
            padding=Padding.longest,
            length=77,
            attention_mask=True,
            source="openai/CLIP clip.tokenize: 77 tokens; causal, so padding after the end is never seen",
        ),
    ),
    "siglip": Family(pooling=Pooling.projected, texts=_SIGLIP),
    "siglip2": Family(pooling=Pooling.projected, texts=_SIGLIP),
    "metaclip_2": Family(
        pooling=Pooling.projected,
        texts=Texts(
            padding=Padding.longest,
            length=77,
            attention_mask=True,
            source="open_clip ViT-H-14-worldwide.json: context_length 77; causal, as CLIP",
        ),
    ),
    "chinese_clip": Family(
        pooling=Pooling.projected,
        texts=Texts(
            padding=Padding.longest,
            length=52,
            attention_mask=True,
            source="OFA-Sys/Chinese-CLIP clip.tokenize: context_length 52, masked padding",
        ),
    ),
    "dinov2": Family(pooling=Pooling.class_token),
    "dinov2_with_registers": Family(pooling=Pooling.class_token),
    "dinov3_vit": Family(
        pooling=Pooling.class_token,
        images={  # transformers' DINOv3ViTImageProcessor
            "image_processor_type": "DINOv3ViTImageProcessor",
            "do_resize": True,
            "size": {"height": 224, "width": 224},
            "resample": 2,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": (0.485, 0.456, 0.406),
            "image_std": (0.229, 0.224, 0.225),
        },
    ),
    "vit": Family(pooling=Pooling.class_token, has_pooler=True),
}
