"""A checkpoint's own tokenizer; gaps in its files are filled with its family's training settings."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from shared.embedding import tokens
from shared.embedding.families import Padding, Texts
from shared.embedding.model_config import TextInput
from shared.errors import ModelBroken

MASK = "attention_mask"


def read_text_input(name: str, texts: Texts, config: Any) -> tuple[Tokenizer, TextInput]:
    """The tokenizer, ready to use. ModelBroken where there is none or where it can't pad.

    A setting of the tokenizer's class isn't one of the checkpoint's files: SigLIP 2's checkpoints name
    Gemma's, which pads on the left, with a mask, as a language model wants it.
    """
    loaded = _fast_tokenizer(name)
    _check(name, loaded, config.text_config.vocab_size)
    files = loaded.init_kwargs
    length = min(config.text_config.max_position_embeddings, _length(files) or texts.length)
    tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    if texts.lower_case:
        tokenizer.normalizer = tokens.lower_cased(tokenizer.normalizer)
    tokenizer.enable_truncation(length, direction=loaded.truncation_side)
    tokenizer.enable_padding(
        direction=files.get("padding_side", texts.side),
        pad_id=loaded.pad_token_id,
        pad_token=loaded.pad_token,
        length=length if texts.padding == Padding.max_length else None,
    )
    inputs = files.get("model_input_names")
    mask = texts.attention_mask if inputs is None else MASK in inputs
    return tokenizer, TextInput(max_length=length, padding=texts.padding, attention_mask=mask)


def _check(name: str, loaded: Any, vocabulary: int) -> None:
    if len(loaded) < vocabulary / 2:  # without its files, transformers makes one up of special tokens
        raise ModelBroken(
            f"The tokenizer of {name!r} knows {len(loaded)} tokens, its text tower {vocabulary}: it is "
            "another model's, or there is no tokenizer.json that can be loaded. Fetch the checkpoint again."
        )
    if loaded.pad_token_id is None:
        raise ModelBroken(f"The tokenizer of {name!r} has no padding token, expected one in its files.")


def _length(files: dict[str, Any]) -> int | None:
    length = files.get("model_max_length")
    is_known = length and length < VERY_LARGE_INTEGER  # which transformers writes for "unknown"
    return length if is_known else None


def _fast_tokenizer(name: str) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, ImportError):
        tokenizer = None  # SigLIP's own needs sentencepiece; its checkpoints carry a tokenizer.json as well
    if getattr(tokenizer, "is_fast", False):
        return tokenizer
    try:
        return PreTrainedTokenizerFast.from_pretrained(name)
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelBroken(f"{name!r} has no tokenizer.json that can be loaded: {error}") from error
