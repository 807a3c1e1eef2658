"""Tokenizers of the real classes and settings, trained on a few sentences."""

from __future__ import annotations

import io
import json
import re
import string
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE, Unigram
from transformers import BertTokenizer, CLIPTokenizer, GemmaTokenizer, XLMRobertaTokenizer

SENTENCES = (
    "a photo of a castle, renewable energy and solar panels on the roof",
    "A Castle on the Rock! What is this (an apple)?",
    "Über die Größe der Fische: naïve café, déjà vu",
    "une vache en smoking sur la plage; eine Kuh am Strand",
    "屋顶 上 的 太阳能 电池板",
)
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def clip(folder: Path, length: int = 77) -> CLIPTokenizer:
    """OpenAI's: byte-level pairs, lower-cased, padded with the token of the end."""
    trained = CLIPTokenizer().train_new_from_iterator(SENTENCES, 700)
    merges = json.loads(trained.backend_tokenizer.to_str())["model"]["merges"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *("".join(merge) for merge in merges)]
    vocabulary = dict.fromkeys([*pieces, "<|startoftext|>", "<|endoftext|>"])
    tokenizer = CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(vocabulary)},
        merges=[tuple(pair) for pair in merges],
    )
    return _saved(tokenizer, folder, model_max_length=length)


def bert(folder: Path) -> BertTokenizer:
    """As Chinese-CLIP's checkpoints have it: word pieces, and nothing said of a length."""
    return _saved(BertTokenizer().train_new_from_iterator(SENTENCES, 300), folder)


def xlm_roberta(folder: Path) -> XLMRobertaTokenizer:
    """As MetaCLIP 2's checkpoints have it."""
    trained = Tokenizer(Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(SENTENCES, trainer)
    pieces = [tuple(piece) for piece in json.loads(trained.to_str())["model"]["vocab"]]
    return _saved(XLMRobertaTokenizer(vocab=[*pieces, ("<mask>", 0.0)]), folder, model_max_length=77)


def gemma(folder: Path, **settings: Any) -> GemmaTokenizer:
    """As SigLIP 2's checkpoints have it: the language model's, which doesn't lower-case.

    `settings` are those of transformers' convert_siglip2_to_hf.py, or none, where a file leaves them open.
    """
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *BYTES]
    trained = Tokenizer(BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    trained.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    ends = {"add_bos_token": False, "add_eos_token": True}
    return _saved(GemmaTokenizer(vocab=model["vocab"], merges=merges, **ends, **settings), folder)


def siglip(folder: Path) -> Any:
    """SigLIP 1's: sentencepiece, without punctuation; its tokenizer.json beside its spiece.model."""
    import sentencepiece
    from transformers import SiglipTokenizer

    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=trained,
        vocab_size=120,
        hard_vocab_limit=False,
        pad_id=0,
        bos_id=-1,
        eos_id=1,
        unk_id=2,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(trained.getvalue())
    tokenizer = _saved(SiglipTokenizer(str(folder / "spiece.model"), model_input_names=["input_ids"]), folder)
    _siglip_backend(tokenizer).save(str(folder / "tokenizer.json"))
    return tokenizer


def _siglip_backend(slow: Any) -> Tokenizer:
    pieces = slow.sp_model
    vocabulary = [
        (pieces.id_to_piece(number), pieces.get_score(number)) for number in range(pieces.get_piece_size())
    ]
    backend = Tokenizer(Unigram(vocabulary, unk_id=pieces.unk_id()))
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.NFKC(),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", pieces.eos_id())]
    )
    return backend


def _saved(tokenizer: Any, folder: Path, **settings: Any) -> Any:
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return type(tokenizer).from_pretrained(folder)
