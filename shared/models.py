"""The embedding models of this process: loaded when first needed, once, and checked by a canary."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Protocol

import numpy as np
from PIL import Image

from shared.errors import ModelBroken, ModelNotLoaded, ModelUnresponsive

CANARY_SECONDS = 5.0  # how long one canary's answer holds
PATIENCE_SECONDS = 10.0  # how long a canary may take, loading the models included


class Embedder(Protocol):
    """What `shared.embedding.load` returns, as far as the functions need it."""

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


class Models:
    """Loads under a lock, and in the worker process only: a web server forks after it imports our module."""

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[str], Embedder],
        *,
        patience: float = PATIENCE_SECONDS,
    ):
        self.names = tuple(names)
        self._load = load
        self._loaded: dict[str, Embedder] = {}
        self._proven: set[str] = set()
        self._lock = threading.Lock()
        self._patience = patience
        self._canary_lock = threading.Lock()
        self._canary: Future[None] | None = None
        self._canary_began = self._canary_ended = float("-inf")

    def get(self, name: str) -> Embedder:
        """The model, loaded if it isn't yet."""
        self.check(name)
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

    def proven(self, name: str) -> Embedder:
        """The model, which has embedded a test picture since it was last found broken; else ModelBroken."""
        embedder = self.get(name)
        if name not in self._proven:
            _check(embedder)
            self._proven.add(name)
        return embedder

    def canary(self, *, anew: bool = False) -> None:
        """Embeds a small picture with every model; ModelBroken where the answer makes no sense.

        A good answer holds for some seconds, unless one is wanted `anew`. ModelUnresponsive where there is
        none in time: then all who ask wait for the same one, or not at all.
        """
        with self._canary_lock:
            if not anew and time.monotonic() - self._canary_ended < CANARY_SECONDS:
                return
            canary = self._canary
            if canary is None or canary.done():
                canary = self._canary = self._start_canary()
            patience = self._canary_began + self._patience - time.monotonic()
        if not wait([canary], max(0.0, patience)).done:
            raise ModelUnresponsive()
        canary.result()

    def _start_canary(self) -> Future[None]:
        self._canary_began = time.monotonic()
        canary: Future[None] = Future()
        # A daemon, in no pool: what hangs here must not keep the process from ending.
        threading.Thread(target=self._run_canary, args=(canary,), name="canary", daemon=True).start()
        return canary

    def _run_canary(self, canary: Future[None]) -> None:
        try:
            for name in self.names:
                _check(self.get(name))
        except Exception as error:
            self._proven.clear()
            self._canary_ended = float("-inf")
            canary.set_exception(error)
        else:
            self._canary_ended = time.monotonic()
            canary.set_result(None)


def _check(embedder: Embedder) -> None:
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
