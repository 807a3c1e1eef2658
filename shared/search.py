"""From a checked query to results: embed what was given, combine, match as the caller, sign URLs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared import documents, logs
from shared.documents import ActiveModel, Match, StoredEmbedding
from shared.errors import Busy, InvalidQuery, ObjectNotFound, StorageError, TextUnsupported
from shared.gate import Gate
from shared.identity import Identity
from shared.images import Decode
from shared.metrics import Metrics
from shared.models import Models
from shared.queries import Example, Query
from shared.rpc import Database
from shared.storage import Storage

URL_SECONDS = 600  # a result's URL works this long for whoever has it


@dataclass(frozen=True, kw_only=True)
class Found:
    """One result, as it is answered."""

    id: int
    bucket: str
    name: str
    content: str
    similarity: float
    url: str | None  # shows the image for ten minutes; None where Storage doesn't let this caller read it
    metadata: dict[str, Any] | None


class Search:
    """Answers queries with the caller's rights. One per process; any thread may call it."""

    def __init__(
        self,
        *,
        connect: Callable[[Identity], Database],
        storage: Callable[[Identity], Storage],
        models: Models,
        gate: Gate,
        metrics: Metrics,
        decode: Decode,
    ):
        self._connect = connect
        self._storage = storage
        self._models = models
        self._gate = gate
        self._metrics = metrics
        self._decode = decode

    def find(self, caller: Identity, model: ActiveModel, query: Query) -> list[Found]:
        """The best results for `query`, without the examples that it names."""
        database = self._connect(caller)
        liked = _resolve(database, query.like, query.bucket)
        unliked = _resolve(database, query.unlike, query.bucket)
        given = [*self._embed(model, query), *(example.embedding for example in liked)]
        vector = combine(_checked(given, model), _checked([one.embedding for one in unliked], model))
        with self._metrics.step("match"):
            matches = _match(database, vector, query, {one.id for one in (*liked, *unliked)})
        with self._metrics.step("sign"):
            urls = self._urls(caller, matches)
        return [_found(match, urls.get((match.bucket_id, match.content))) for match in matches]

    def _embed(self, model: ActiveModel, query: Query) -> list[np.ndarray]:
        if not query.texts and not query.images:
            return []  # stored images alone need no model
        embedder = self._models.get(model.name)
        if query.texts and not embedder.supports_text:
            raise TextUnsupported(value=model.name)
        with self._gate.enter(), self._metrics.step("embed"):
            decoded = [self._decode(image, min_side=embedder.image_size) for image in query.images]
            pictures = [one.picture for one in decoded]
            vectors = list(embedder.embed_images(pictures)) if pictures else []
            return vectors + (list(embedder.embed_texts(query.texts)) if query.texts else [])

    def _urls(self, caller: Identity, matches: Sequence[Match]) -> dict[tuple[str, str], str]:
        names: defaultdict[str, list[str]] = defaultdict(list)
        for match in matches:
            names[match.bucket_id].append(match.content)
        storage = self._storage(caller)
        urls: dict[tuple[str, str], str] = {}
        for bucket, paths in names.items():
            try:
                signed = storage.sign(bucket, paths, seconds=URL_SECONDS)
            except StorageError as error:  # the results are worth answering without pictures
                logs.write("not signed", severity="WARNING", error=error, bucket=bucket)
                continue
            urls |= {(bucket, path): url for path, url in signed.items()}
        return urls


def combine(positives: Sequence[np.ndarray], negatives: Sequence[np.ndarray]) -> np.ndarray:
    """The one vector to search with, of unit length: avg(positives) + (avg(positives) - avg(negatives)).

    Qdrant's `average_vector` strategy. Without negatives it is the average of the positives,
    without positives the direction away from the negatives.
    """
    vector = _average(positives)
    if negatives:
        vector = vector + (vector - _average(negatives)) if positives else -_average(negatives)
    length = float(np.linalg.norm(vector))
    if length < 1e-6:
        raise InvalidQuery("The examples cancel each other out. Take one of them from like or unlike.")
    return np.asarray(vector / length, dtype=np.float32)


def _average(vectors: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean(np.asarray(vectors, dtype=np.float64), axis=0) if vectors else np.zeros(1)


def _checked(vectors: Sequence[np.ndarray], model: ActiveModel) -> Sequence[np.ndarray]:
    if any(vector.shape != (model.dimensions,) for vector in vectors):
        raise Busy("The active model has just changed. Ask again in a moment.", retry_after=10)
    return vectors


def _match(database: Database, vector: np.ndarray, query: Query, examples: set[int]) -> list[Match]:
    """The page of matches that `query` asks for, counted without the examples."""
    # Examples may rank anywhere before the page, so a page beside examples is cut out here.
    skipped = query.offset if examples else 0
    matches = documents.match(
        database,
        vector,
        threshold=query.min_similarity,
        limit=query.limit + skipped + len(examples),
        offset=query.offset - skipped,
        bucket=query.bucket,
        prefix=query.prefix,
    )
    others = [match for match in matches if match.id not in examples]
    return others[skipped : skipped + query.limit]


def _resolve(database: Database, examples: Sequence[Example], bucket: str | None) -> list[StoredEmbedding]:
    """The examples' stored vectors; ObjectNotFound for one that isn't there or not the caller's to see."""
    ids = [example for example in examples if isinstance(example, int)]
    names = [example for example in examples if isinstance(example, str)]
    found = documents.embeddings_by_id(database, ids) if ids else []
    by_id = {one.id: one for one in found}
    by_name = _by_name(documents.embeddings_by_name(database, names)) if names else {}
    return [
        _one(example, [by_id[example]] if example in by_id else [], None)
        if isinstance(example, int)
        else _one(example, by_name.get(example, []), bucket)
        for example in examples
    ]


def _by_name(found: Iterable[StoredEmbedding]) -> dict[str, list[StoredEmbedding]]:
    named: defaultdict[str, list[StoredEmbedding]] = defaultdict(list)
    for one in found:
        named[one.content].append(one)
        named[f"{one.bucket_id}/{one.content}"].append(one)
    return named


def _one(example: Example, found: Sequence[StoredEmbedding], bucket: str | None) -> StoredEmbedding:
    """The one object that `example` means; a path that several buckets have means the filter's bucket."""
    if len(found) > 1:
        found = [one for one in found if one.bucket_id == bucket] or found
    if not found:
        raise ObjectNotFound(
            f"There is no searchable object {example!r}, or you may not read it. "
            "Name it by its id, its path, or bucket/path.",
            value=example,
        )
    if len(found) > 1:
        buckets = ", ".join(sorted(one.bucket_id for one in found))
        raise InvalidQuery(f"{example!r} is in several buckets: {buckets}. Write bucket/path.", value=example)
    return found[0]


def _found(match: Match, url: str | None) -> Found:
    return Found(
        id=match.id,
        bucket=match.bucket_id,
        name=match.content,
        content=match.content,
        similarity=match.similarity,
        url=url,
        metadata=match.metadata,
    )
