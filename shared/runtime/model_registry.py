"""The embedding models of this process: loaded when first needed, once, and checked by a self-test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from PIL import Image

from shared.errors import ModelBroken, ModelNotLoaded, ModelUnresponsive, NeuralSearchError
from shared.runtime import logs
from shared.runtime.self_test import PATIENCE_SECONDS, SelfTest


class LoadedModel(Protocol):
    """The result of `shared.embedding.load`, as far as the functions need it."""

    @property
    def name(self) -> str: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def supports_text(self) -> bool: ...
    @property
    def image_size(self) -> int: ...
    def embed_images(self, images: Sequence[bytes | Image.Image]) -> np.ndarray: ...
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray: ...


class ModelRegistry:
    """Loads under a lock, and in the worker process only: a web server forks after it imports our module."""

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[str], LoadedModel],
        *,
        patience: float = PATIENCE_SECONDS,
    ):
        self.names = tuple(names)
        self._load = load
        self._loaded: dict[str, LoadedModel] = {}
        self._proven: set[str] = set()
        self._lock = threading.Lock()
        self._self_tests = {
            name: SelfTest(partial(self._embed_anything, name), patience=patience) for name in self.names
        }

    def get(self, name: str) -> LoadedModel:
        """The model, loaded if it isn't yet."""
        self.check(name)
        if name in self._loaded:
            return self._loaded[name]  # no search waits until another model is loaded
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def check(self, name: str) -> None:
        """ModelNotLoaded where EMBEDDING_MODELS doesn't name this model."""
        if name not in self.names:
            raise ModelNotLoaded(
                f"The model {name!r} isn't loaded here, only {', '.join(self.names)}. "
                "Add it to EMBEDDING_MODELS and restart.",
                value=name,
            )

    def loaded(self) -> list[str]:
        return sorted(self._loaded)

    def proven(self, name: str) -> LoadedModel:
        """The model, after a successful self-test. Raises ModelBroken."""
        embedder = self.get(name)
        if name not in self._proven:
            _check(embedder)
            self._proven.add(name)
        return embedder

    def self_test(self, name: str, *, anew: bool = False) -> None:
        """Embeds a small picture with the model; ModelBroken where the answer makes no sense.

        A good answer holds for some seconds, unless one is wanted `anew`. ModelUnresponsive where there is
        none in time.
        """
        self.check(name)
        self._self_tests[name].ask(anew=anew)

    def failures(self) -> dict[str, NeuralSearchError]:
        """Why each model that can't embed a small picture now can't. They are kept: raise them `anew`."""
        # All at once, so that no patience adds up.
        answers = {name: self_test.start() for name, self_test in self._self_tests.items()}
        failures = {name: self._self_tests[name].failure(answer) for name, answer in answers.items()}
        return {name: failure for name, failure in failures.items() if failure}

    def check_live(self, failures: Mapping[str, NeuralSearchError] | None = None) -> None:
        """Raises where a restart may help: a model that did embed doesn't any more, none does, or one is
        still loading for the first time. One that can't be loaded beside one that serves is no reason.
        `failures` are those of this moment, where they are known."""
        failures = self.failures() if failures is None else failures
        for name, failure in failures.items():
            is_first = isinstance(failure, ModelUnresponsive)
            if self._self_tests[name].has_passed or is_first or len(failures) == len(self.names):
                raise failure.anew()

    def _embed_anything(self, name: str) -> None:
        try:
            _check(self.get(name))
        except Exception as error:
            self._proven.discard(name)
            logs.write("model failed", severity="WARNING", error=error, model=name)
            raise


def _check(embedder: LoadedModel) -> None:
    picture = Image.radial_gradient("L").convert("RGB")
    try:
        vectors = embedder.embed_images([picture])
    except Exception as error:
        raise ModelBroken(
            f"{embedder.name} can't embed a test picture: {type(error).__name__}: {error}. "
            "Restart this process."
        ) from error
    if vectors.shape != (1, embedder.dimensions) or not abs(float(np.linalg.norm(vectors[0])) - 1) < 0.01:
        raise ModelBroken(
            f"{embedder.name} answered shape {vectors.shape}, norm {np.linalg.norm(vectors):.3f}. "
            f"Expected (1, {embedder.dimensions}) and 1. Restart; remove the cached model if it stays."
        )
