"""Texts come to the text tower in few lengths, whatever callers send."""

from __future__ import annotations

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from shared.embedding import tokens
from shared.embedding.model_config import Padding, TextInput
from shared.errors import ModelError

MOST = 77  # tokens
HOW = TextInput(max_length=MOST, padding=Padding.longest, attention_mask=True)


def tokenizer(side: str = "right") -> Tokenizer:
    made = Tokenizer(WordLevel({"a": 1, "[PAD]": 7}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.enable_truncation(MOST)
    made.enable_padding(direction=side, pad_id=7, pad_token="[PAD]")
    return made


def test_texts_of_any_length_have_few_lengths():
    made = tokenizer()
    lengths = {tokens.batch(["a " * count], made, HOW)[0].shape[1] for count in range(1, 200)}
    assert sorted(lengths) == [8, 16, 24, 32, 48, 64, MOST]


def test_what_fills_a_text_up_is_padding_and_masked():
    [found, mask] = tokens.batch(["a a a"], tokenizer(), HOW)
    assert found.tolist() == [[1, 1, 1, 7, 7, 7, 7, 7]]
    assert mask.tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]


def test_nothing_moves_a_text_to_other_positions():
    [found, mask] = tokens.batch(["a a a"], tokenizer("left"), HOW)
    assert found.tolist() == [[1, 1, 1]] and mask.tolist() == [[1, 1, 1]]


def test_a_tokenizer_that_panics_is_the_models_failure():
    made = tokenizer()
    made.pre_tokenizer = pre_tokenizers.Split(Regex("(x+x+)+y"), "isolated")
    with pytest.raises(ModelError, match="tokenizer fails"):
        tokens.batch(["x" * 30], made, HOW)
