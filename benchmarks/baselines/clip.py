"""CLIP ViT-B/32 with random weights, written by transformers itself: its speed needs no download.

python -m benchmarks.baselines.clip FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

# The text tower is never measured here, so it is as small as it may be.
TEXT = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
WORDS = {"<pad>": 0, "<bos>": 1, "<unk>": 2, "<eos>": 3}


def write(folder: Path, **vision: int) -> Path:
    """The checkpoint in `folder`, whole or not at all; written when it isn't there yet.

    `vision` makes another vision tower of it.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as staging:
            _write(Path(staging) / "clip", vision)
            (Path(staging) / "clip").rename(folder)
    return folder


def _write(folder: Path, vision: dict[str, int]) -> None:
    torch.manual_seed(7)
    text = TEXT | {"vocab_size": len(WORDS), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3}
    # The vision tower's own defaults are ViT-B/32's: 12 layers of 768, patches of 32, pictures of 224 pixels.
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=512)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}
    ).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 3)]
    )
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    inputs = ["input_ids", "attention_mask"]
    cast(Any, PreTrainedTokenizerFast)(
        tokenizer_object=tokenizer, model_input_names=inputs, model_max_length=77, **special
    ).save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
