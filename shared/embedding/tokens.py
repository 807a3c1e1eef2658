"""Texts to the text tower's input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, normalizers

from shared.embedding.model_config import TextInput
from shared.errors import ModelError

LEAST_LENGTH = 8  # tokens; beyond 32 there are two lengths for each doubling
PADDING = ("direction", "pad_id", "pad_type_id", "pad_token")


def batch(texts: Sequence[str], tokenizer: Tokenizer, how: TextInput) -> list[NDArray[np.int64]]:
    """Token ids (n, length) and, where the text tower takes one, a mask of the padding.

    Of few lengths where what fills them up stands behind the text: engines keep memory for each that they
    have had, and callers choose the texts. Before it, it would move the text to other positions.
    """
    encodings = _encoded(texts, tokenizer)
    padding = {name: value for name, value in (tokenizer.padding or {}).items() if name in PADDING}
    if padding.get("direction") != "left":
        for encoding in encodings:
            encoding.pad(min(_usual(len(encoding.ids)), how.max_length), **padding)
    inputs = [np.array([encoding.ids for encoding in encodings], np.int64)]
    if how.attention_mask:
        inputs.append(np.array([encoding.attention_mask for encoding in encodings], np.int64))
    return inputs


def _encoded(texts: Sequence[str], tokenizer: Tokenizer) -> list[Any]:
    """ModelError where the tokenizer panics, as on patterns that backtrack: that is no Exception."""
    try:
        return list(tokenizer.encode_batch(list(texts)))
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3 exports it nowhere
            raise
        raise ModelError(f"The model's tokenizer fails: {error}.") from error


def _usual(length: int) -> int:
    step = max(LEAST_LENGTH, 1 << (length - 1).bit_length() >> 2)
    return -(-length // step) * step


def lower_cased(normalizer: Any) -> Any:
    """A tokenizer's normaliser, or None, with lower-casing before it."""
    return normalizers.Sequence([normalizers.Lowercase(), *([normalizer] if normalizer else [])])
