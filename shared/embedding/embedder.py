"""Pictures and texts to unit vectors in one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from shared import images
from shared.embedding import preprocessing, tokens
from shared.embedding.engines.batching import Batcher
from shared.embedding.model_config import ModelConfig
from shared.errors import InvalidQuery, TextUnsupported

Vectors = NDArray[np.float32]
Item = TypeVar("Item")


class Engine(Protocol):
    """Runs a model's towers."""

    name: str  # openvino or torch
    device: str  # cpu or cuda
    precision: str  # f32, bf16 or int8
    batch_size: int  # how many inputs it takes at once
    joins_calls: bool  # whether images of concurrent calls are faster together

    def images(self, inputs: Sequence[NDArray[Any]]) -> Vectors: ...

    def texts(self, inputs: Sequence[NDArray[Any]]) -> Vectors: ...


class Embedder:
    """A loaded model. Safe to call from several threads."""

    def __init__(
        self,
        record: ModelConfig,
        engine: Engine,
        tokenizer: Tokenizer | None,
        *,
        max_image_bytes: int,
        max_image_pixels: int,
    ):
        self.record = record
        self.engine = engine
        self._images = Batcher(engine.images, self.joined) if engine.joins_calls else engine.images
        self._tokenizer = tokenizer
        self._max_image_bytes = max_image_bytes
        self._max_image_pixels = max_image_pixels

    @property
    def name(self) -> str:
        return self.record.model

    @property
    def dimensions(self) -> int:
        return self.record.dimensions

    @property
    def supports_text(self) -> bool:
        return self.record.text is not None

    @property
    def image_size(self) -> int:
        """The shorter side, in pixels, that a picture needs: `min_side` of `shared.images.decode`."""
        return self.record.image.side

    @property
    def joined(self) -> int:
        """How many images of concurrent calls it takes at once; 1 where together they are no faster."""
        return self.engine.batch_size if self.engine.joins_calls else 1

    def embed_images(self, pictures: Sequence[bytes | Image.Image]) -> Vectors:
        """Files' bytes or pictures to float32 (n, dimensions), rows of unit length.

        A file that can't be decoded raises its ImageError: one that must not harm the others is decoded, or
        embedded, by itself.
        """
        return self._in_batches(pictures, self._embed_pictures)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts to float32 (n, dimensions), rows of unit length; cut off at the model's number of tokens."""
        if not self.supports_text:
            raise TextUnsupported(
                f"The model {self.name!r} has no text side. Search by image, or activate one that has."
            )
        if not all(text.strip() for text in texts):
            raise InvalidQuery("The text is empty. Say what the images should show.")
        return self._in_batches(texts, self._embed_tokens)

    def _in_batches(self, items: Sequence[Item], embed: Callable[[Sequence[Item]], Vectors]) -> Vectors:
        size = self.engine.batch_size
        batches = [embed(items[start : start + size]) for start in range(0, len(items), size)]
        return np.concatenate([np.empty((0, self.dimensions), np.float32), *batches])

    def _embed_pictures(self, pictures: Sequence[bytes | Image.Image]) -> Vectors:
        inputs = preprocessing.batch([self._decoded(picture) for picture in pictures], self.record.image)
        return self._images(inputs)

    def _embed_tokens(self, texts: Sequence[str]) -> Vectors:
        assert self._tokenizer and self.record.text
        return self.engine.texts(tokens.batch(texts, self._tokenizer, self.record.text))

    def _decoded(self, picture: bytes | Image.Image) -> Image.Image:
        if isinstance(picture, Image.Image):
            return images.to_rgb(picture)
        limits = {"max_bytes": self._max_image_bytes, "max_pixels": self._max_image_pixels}
        return images.decode(picture, min_side=self.image_size, **limits).picture
