"""Tiny, randomly initialised checkpoints of each family, written to disk by transformers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModel,
    CLIPConfig,
    Dinov2Config,
    PreTrainedTokenizerFast,
    Siglip2Config,
    SiglipConfig,
    ViTConfig,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
WORDS = ("a", "photo", "of", "castle", "fish", "on", "the", "roof", "renewable", "energy", "solar", "panels")
SPECIAL = ["<pad>", "<bos>", "<unk>", "<eos>"]
TEXT = {"vocab_size": len(SPECIAL) + len(WORDS), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3}
VOCABULARY = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}


def clip(folder: Path, dimensions: int = 24) -> None:
    # A text that ends with 2 has CLIP look for the largest token instead, as its first configurations need.
    text = TOWER | TEXT | {"max_position_embeddings": 16}
    vision = TOWER | {"image_size": 48, "patch_size": 16}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=dimensions)
    _write(folder, config, CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size=_square(48)))
    _tokenizer(folder, ["input_ids", "attention_mask"], 16)


def siglip(folder: Path) -> None:
    text = TOWER | TEXT | {"max_position_embeddings": 12, "projection_size": 32}
    vision = TOWER | {"image_size": 48, "patch_size": 16}
    config = SiglipConfig(text_config=text, vision_config=vision)
    _write(folder, config, SiglipImageProcessorPil(size=_square(48)))
    _tokenizer(folder, ["input_ids"], 12)


def siglip2(folder: Path) -> None:
    text = TOWER | TEXT | {"max_position_embeddings": 12, "projection_size": 32}
    vision = TOWER | {"patch_size": 8, "num_patches": 25}
    config = Siglip2Config(text_config=text, vision_config=vision)
    _write(folder, config, Siglip2ImageProcessorPil(patch_size=8, max_num_patches=36))
    _tokenizer(folder, ["input_ids", "attention_mask"], 12)


def dinov2(folder: Path) -> None:
    # As the real ones: trained at another size than the processor makes, so that positions are resized.
    config = Dinov2Config(**TOWER, image_size=70, patch_size=14)
    _write(folder, config, BitImageProcessorPil(size={"shortest_edge": 64}, crop_size=_square(56)))


def vit(folder: Path) -> None:
    _write(folder, ViTConfig(**TOWER, image_size=48, patch_size=16), ViTImageProcessorPil(size=_square(48)))


FAMILIES = {"clip": clip, "siglip": siglip, "siglip2": siglip2, "dinov2": dinov2, "vit": vit}
WITH_TEXT = ("clip", "siglip", "siglip2")


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _write(folder: Path, config: Any, processor: Any) -> None:
    torch.manual_seed(7)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)  # the usual initialisation would make all vectors nearly the same
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _tokenizer(folder: Path, inputs: list[str], length: int) -> None:
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 3)]
    )
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=inputs, model_max_length=length, **special
    ).save_pretrained(folder)
