"""Whether an engine computes a model's vectors rightly: its precision's, compared with float32's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from shared.embedding import preprocessing, tokens
from shared.embedding.embedder import Engine
from shared.embedding.model_config import ModelConfig
from shared.runtime import logs

MEAN, LEAST = 0.99, 0.95  # cosines to float32's vectors that a precision must reach to be served
PICTURES = Path(__file__).with_name("precision_pictures")  # public domain, from examples/images
TEXTS = (
    "a castle",
    "renewable energy",
    "solar panels on the roof of a house",
    "Zwei Fische in einem Aquarium",
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How far a precision's vectors are from float32's: cosines, over pictures and texts."""

    mean: float
    least: float

    @property
    def good(self) -> bool:
        return self.mean >= MEAN and self.least >= LEAST  # NaN isn't


def pictures() -> list[Image.Image]:
    """A few photographs of unlike things."""
    return [Image.open(path).convert("RGB") for path in sorted(PICTURES.glob("*.jpg"))]


def compare(served: Engine, exact: Engine, record: ModelConfig, tokenizer: Tokenizer | None) -> Verdict:
    """Both engines' vectors of the same inputs."""
    cosines = np.concatenate(list(_cosines(served, exact, record, tokenizer)))
    return Verdict(mean=float(cosines.mean()), least=float(cosines.min()))


def _cosines(
    served: Engine, exact: Engine, record: ModelConfig, tokenizer: Tokenizer | None
) -> Iterator[NDArray[np.float64]]:
    images = preprocessing.batch(pictures(), record.image)
    yield _cosine(served.images(images), exact.images(images))
    if record.text and tokenizer:
        texts = tokens.batch(TEXTS, tokenizer, record.text)
        yield _cosine(served.texts(texts), exact.texts(texts))


def _cosine(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines: NDArray[np.float64] = np.einsum("nd,nd->n", a, b) / lengths
    return cosines


def accepted(verdict: Verdict, precision: str, model: str) -> bool:
    """Whether it may serve; else the log says so, and float32 has to."""
    if not verdict.good:
        logs.write(
            f"{precision} gives wrong vectors on this processor, so float32 serves: expected a mean cosine "
            f"of {MEAN} and none below {LEAST}",
            severity="WARNING",
            model=model,
            mean_cosine=round(verdict.mean, 4),
            least_cosine=round(verdict.least, 4),
        )
    return verdict.good
