"""Texts to the text tower's input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, normalizers

from shared.embedding.model_config import TextInput


def batch(texts: Sequence[str], tokenizer: Tokenizer, how: TextInput) -> list[NDArray[np.int64]]:
    """Token ids (n, length) and, where the text tower takes one, a mask of the padding."""
    encodings = tokenizer.encode_batch(list(texts))
    inputs = [np.array([encoding.ids for encoding in encodings], np.int64)]
    if how.attention_mask:
        inputs.append(np.array([encoding.attention_mask for encoding in encodings], np.int64))
    return inputs


def lower_cased(normalizer: Any) -> Any:
    """A tokenizer's normaliser, or None, with lower-casing before it."""
    return normalizers.Sequence([normalizers.Lowercase(), *([normalizer] if normalizer else [])])
