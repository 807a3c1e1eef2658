"""Small, randomly initialised checkpoints of each family, written to disk by transformers itself.

Sizes of pictures, patches and texts, processors and tokenizers' classes and settings are those of the real
checkpoints; only widths, depths and vocabularies are small.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    ChineseCLIPConfig,
    ChineseCLIPProcessor,
    CLIPConfig,
    CLIPProcessor,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    DINOv3ViTConfig,
    MetaClip2Config,
    Siglip2Config,
    Siglip2Processor,
    SiglipConfig,
    SiglipProcessor,
    ViTConfig,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import ChineseCLIPImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from support import tiny_tokenizers

TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
AS_CONVERTED = {"padding_side": "right", "model_input_names": ["input_ids"]}  # convert_siglip2_to_hf.py


def clip(folder: Path, dimensions: int = 24) -> None:
    tokenizer = tiny_tokenizers.clip(folder)
    vision = TOWER | {"image_size": 224, "patch_size": 32}
    config = CLIPConfig(text_config=_text(tokenizer, 77), vision_config=vision, projection_dim=dimensions)
    _write(folder, config, CLIPImageProcessorPil())


def siglip(folder: Path) -> None:
    _siglip(folder, tiny_tokenizers.siglip(folder))


def siglip_2_of_fixed_size(folder: Path) -> None:
    """SigLIP's architecture and Gemma's tokenizer: google/siglip2-base-patch16-224 and its like."""
    _siglip(folder, tiny_tokenizers.gemma(folder, **AS_CONVERTED))


def siglip_2_with_silent_files(folder: Path) -> None:
    """The same, but the files say nothing of padding, length and mask."""
    _siglip(folder, tiny_tokenizers.gemma(folder))


def _siglip(folder: Path, tokenizer: Any) -> None:
    text = _text(tokenizer, 64) | {"projection_size": 32}
    config = SiglipConfig(text_config=text, vision_config=TOWER | {"image_size": 224, "patch_size": 16})
    _write(folder, config, SiglipImageProcessorPil(size=_square(224)))


def siglip2(folder: Path) -> None:
    """NaFlex: google/siglip2-base-patch16-naflex."""
    text = _text(tiny_tokenizers.gemma(folder, **AS_CONVERTED), 64) | {"projection_size": 32}
    config = Siglip2Config(text_config=text, vision_config=TOWER | {"patch_size": 16, "num_patches": 256})
    _write(folder, config, Siglip2ImageProcessorPil(patch_size=16, max_num_patches=256))


def metaclip_2(folder: Path) -> None:
    text = _text(tiny_tokenizers.xlm_roberta(folder), 77)
    vision = TOWER | {"image_size": 224, "patch_size": 32}
    config = MetaClip2Config(text_config=text, vision_config=vision, projection_dim=24)
    _write(folder, config, CLIPImageProcessorPil())


def chinese_clip(folder: Path) -> None:
    text = _text(tiny_tokenizers.bert(folder), 512) | {"pad_token_id": 0}
    vision = TOWER | {"image_size": 224, "patch_size": 16}
    config = ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    _write(folder, config, ChineseCLIPImageProcessorPil(size=_square(224), do_center_crop=False))


def dinov2(folder: Path) -> None:
    # As the real ones: trained at another size than the processor makes, so that positions are resized.
    _write(folder, Dinov2Config(**TOWER, image_size=518, patch_size=14), _dinov2_processor())


def dinov2_with_registers(folder: Path) -> None:
    config = Dinov2WithRegistersConfig(**TOWER, image_size=518, patch_size=14, num_register_tokens=4)
    _write(folder, config, _dinov2_processor())


def dinov3_vit(folder: Path) -> None:
    config = DINOv3ViTConfig(**TOWER, image_size=224, patch_size=16, num_register_tokens=4)
    _write(folder, config, None)
    # transformers' own processor, which would write this, needs torchvision.
    settings = {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": _square(224), "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"do_center_crop": None}))


def vit(folder: Path) -> None:
    _write(folder, ViTConfig(**TOWER, image_size=224, patch_size=16), ViTImageProcessorPil())


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of checkpoint, and how its authors prepare texts in transformers."""

    model_type: str
    write: Callable[[Path], None]
    processor: Any = None  # None: it has no text side
    tokenizer: Any = None  # None: the one that AutoTokenizer finds
    texts: dict[str, Any] | None = None  # the processor's arguments for texts


LONGEST = {"padding": True, "truncation": True}
ALWAYS_64 = {"padding": "max_length", "truncation": True, "max_length": 64}
KINDS = {
    "clip": Kind(model_type="clip", write=clip, processor=CLIPProcessor, texts=LONGEST),
    "siglip": Kind(model_type="siglip", write=siglip, processor=SiglipProcessor, texts=ALWAYS_64),
    "siglip 2 of fixed size": Kind(
        model_type="siglip",
        write=siglip_2_of_fixed_size,
        processor=SiglipProcessor,
        tokenizer=Siglip2Tokenizer,
        texts=ALWAYS_64,
    ),
    "siglip 2 with silent files": Kind(
        model_type="siglip",
        write=siglip_2_with_silent_files,
        processor=SiglipProcessor,
        tokenizer=Siglip2Tokenizer,
        texts=ALWAYS_64 | {"padding_side": "right", "return_attention_mask": False},
    ),
    "siglip2": Kind(
        model_type="siglip2", write=siglip2, processor=Siglip2Processor, tokenizer=Siglip2Tokenizer, texts={}
    ),
    "metaclip_2": Kind(model_type="metaclip_2", write=metaclip_2, processor=CLIPProcessor, texts=LONGEST),
    "chinese_clip": Kind(
        model_type="chinese_clip",
        write=chinese_clip,
        processor=ChineseCLIPProcessor,
        texts=LONGEST | {"max_length": 52},
    ),
    "dinov2": Kind(model_type="dinov2", write=dinov2),
    "dinov2_with_registers": Kind(model_type="dinov2_with_registers", write=dinov2_with_registers),
    "dinov3_vit": Kind(model_type="dinov3_vit", write=dinov3_vit),
    "vit": Kind(model_type="vit", write=vit),
}
WITH_TEXT = tuple(name for name, kind in KINDS.items() if kind.processor)


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _dinov2_processor() -> BitImageProcessorPil:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    return BitImageProcessorPil(
        size={"shortest_edge": 256}, crop_size=_square(224), image_mean=mean, image_std=std
    )


def _text(tokenizer: Any, length: int) -> dict[str, Any]:
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": length}
    return TOWER | sizes | ends | {"pad_token_id": tokenizer.pad_token_id}


def _write(folder: Path, config: Any, processor: Any) -> None:
    torch.manual_seed(7)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)  # the usual initialisation would make all vectors nearly the same
    model.save_pretrained(folder)
    if processor:
        processor.save_pretrained(folder)
