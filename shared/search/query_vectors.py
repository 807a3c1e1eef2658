"""The vectors that a search starts from, as the database takes them: a stored image's by its id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.errors import InvalidQuery, ObjectNotFound, TextUnsupported
from shared.images import Decode
from shared.runtime import disconnect
from shared.runtime.limiter import ConcurrencyLimiter
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import LoadedModel, ModelRegistry
from shared.search import index
from shared.search.index import ActiveModel, Named
from shared.search.query import Query
from shared.search.query_examples import Example
from shared.search.text_vectors import TextVectors
from shared.supabase.credentials import Identity
from shared.supabase.database import Database

TEXTS = 8  # at a time, half a CPU second at most: between them one looks whether the caller still waits


class Embedding:
    """Embeds texts and files, of as many queries at a time as the limiters let in.

    Texts, which cost little, don't wait for places behind files, whose decoding may take MAX_DECODE_SECONDS.
    """

    def __init__(
        self,
        *,
        models: ModelRegistry,
        file_limiter: ConcurrencyLimiter,
        text_limiter: ConcurrencyLimiter,
        metrics: Metrics,
        decode: Decode,
    ):
        self._models = models
        self._file_limiter = file_limiter
        self._text_limiter = text_limiter
        self._metrics = metrics
        self._decode = decode
        self._kept = TextVectors()

    def embed(
        self, caller: Identity, model: ActiveModel, examples: Sequence[Example]
    ) -> dict[Example, np.ndarray]:
        """The vectors, (dimensions,) float32 of unit length, of the texts and files among `examples`."""
        texts = [example for example in examples if example.kind == "text"]
        files = [example for example in examples if example.kind == "image"]
        if not texts and not files:
            return {}  # stored images alone need no model
        embedder = self._models.get(model.name)
        if texts and not embedder.supports_text:
            raise TextUnsupported(value=model.name)
        known = self._kept.find(caller.digest, model.name, [text.value for text in texts])
        new = list(dict.fromkeys(text.value for text in texts if text.value not in known))
        vectors = self._of_files(embedder, files) if files else {}
        if new:
            made = self._of_texts(embedder, new)
            self._kept.keep(caller.digest, model.name, made)
            known |= made
        return vectors | {text: known[text.value] for text in texts}

    def _of_files(self, embedder: LoadedModel, files: Sequence[Example]) -> dict[Example, np.ndarray]:
        with self._file_limiter.enter(), self._metrics.step("embed"):
            return {file: self._vector(embedder, file) for file in files}

    def _of_texts(self, embedder: LoadedModel, texts: Sequence[str]) -> dict[str, np.ndarray]:
        made: dict[str, np.ndarray] = {}
        with self._text_limiter.enter(), self._metrics.step("embed"):
            for start in range(0, len(texts), TEXTS):
                disconnect.check()
                piece = texts[start : start + TEXTS]
                made |= zip(piece, embedder.embed_texts(piece), strict=True)
        return made

    def _vector(self, embedder: LoadedModel, file: Example) -> np.ndarray:
        """Of one file: together, eight pictures may take gigabytes."""
        decoded = self._decode(file.value, min_side=embedder.image_size)
        vector: np.ndarray = embedder.embed_images([decoded.picture])[0]
        return vector


def kind_of(query: Query) -> str:
    """The database's name for this kind of query; each has similarities of its own."""
    textual = {example.kind == "text" for example in query.like or query.unlike}
    return "mixed" if len(textual) == 2 else "text" if True in textual else "image"


def ids_of(database: Database, model: ActiveModel, query: Query) -> dict[Example, int]:
    """The documents that the names among the examples mean; ObjectNotFound for one that isn't there or not
    the caller's to see. Whether an id is, the database says when it searches."""
    named = [example for example in query.examples if example.kind == "name"]
    if not named:
        return {}
    by_name: defaultdict[str, list[Named]] = defaultdict(list)
    for one in index.named(database, [one.value for one in named], model=model.name):
        by_name[one.content].append(one)
        by_name[f"{one.bucket_id}/{one.content}"].append(one)
    bucket = query.filter.get("bucket")
    return {example: _one(example.value, by_name[example.value], bucket).id for example in named}


def as_json(
    examples: Sequence[Example], ids: dict[Example, int], vectors: dict[Example, np.ndarray]
) -> list[dict[str, Any]]:
    """The examples as recommend_documents takes them."""
    return [_source(example, ids, vectors) | {"weight": example.weight} for example in examples]


def _source(example: Example, ids: dict[Example, int], vectors: dict[Example, np.ndarray]) -> dict[str, Any]:
    if example in vectors:
        return {"embedding": vectors[example].astype(float).tolist(), "kind": example.kind}
    return {"id": ids.get(example, example.value)}


def _one(name: str, found: Sequence[Named], bucket: str | None) -> Named:
    """The one object that `name` means: exactly this bucket/path rather than such a path elsewhere; a path
    that several buckets have means the filter's bucket."""
    found = [one for one in found if f"{one.bucket_id}/{one.content}" == name] or found
    if len(found) > 1:
        found = [one for one in found if one.bucket_id == bucket] or found
    if not found:
        text = f"There is no searchable object {name!r:.200}, or you may not read it. "
        text += "Name it by its id, its path, or bucket/path."
        raise ObjectNotFound(text, value=name, told=text)
    if len(found) > 1:
        buckets = ", ".join(sorted(one.bucket_id for one in found))
        raise InvalidQuery(f"{name!r} is in several buckets: {buckets}. Write bucket/path.", value=name)
    return found[0]
