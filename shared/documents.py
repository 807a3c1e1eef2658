"""The index as a caller sees it: one line per SQL function. Row level security decides what is there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.rpc import Database


@dataclass(frozen=True, kw_only=True)
class ActiveModel:
    """The model whose vectors the search compares."""

    name: str
    dimensions: int


@dataclass(frozen=True, kw_only=True)
class Match:
    """One document that a search found."""

    id: int
    bucket_id: str
    object_id: str
    content: str  # the object's path in its bucket
    similarity: float  # 1 - cosine distance
    metadata: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredEmbedding:
    """One document's vector under the active model."""

    id: int
    bucket_id: str
    content: str
    embedding: np.ndarray  # (dimensions,) float32


@dataclass(frozen=True, kw_only=True)
class ObjectState:
    """Whether an object can be found yet, and if not, why."""

    name: str
    object_id: str | None
    state: str  # searchable, pending, skipped, failed, ignored or unknown
    reason: str | None


def active_model(database: Database) -> ActiveModel | None:
    """The active model; None where none is."""
    rows = database.call("active_model")
    return ActiveModel(name=rows[0]["name"], dimensions=rows[0]["dimensions"]) if rows else None


def match(
    database: Database,
    embedding: np.ndarray,
    *,
    threshold: float | None,
    limit: int,
    offset: int,
    bucket: str | None,
    prefix: str | None,
) -> list[Match]:
    """The documents most similar to `embedding`, best first."""
    rows = database.call(
        "match_documents",
        query_embedding=embedding.astype(float).tolist(),
        similarity_threshold=threshold,
        match_count=limit,
        bucket=bucket,
        name_prefix=prefix,
        skip_count=offset,
    )
    return [Match(**{field: row[field] for field in Match.__annotations__}) for row in rows]


def embeddings_by_id(database: Database, ids: Sequence[int]) -> list[StoredEmbedding]:
    return _embeddings(database.call("get_embeddings", document_ids=list(ids)))


def embeddings_by_name(
    database: Database, names: Sequence[str], bucket: str | None = None
) -> list[StoredEmbedding]:
    """The vectors of `path` or `bucket/path`, in one bucket or in all of them."""
    return _embeddings(database.call("get_embeddings", names=list(names), bucket=bucket))


def object_states(database: Database, bucket: str, names: Sequence[str]) -> list[ObjectState]:
    rows = database.call("object_states", bucket=bucket, names=list(names))
    return [ObjectState(**{field: row[field] for field in ObjectState.__annotations__}) for row in rows]


def _embeddings(rows: list[dict[str, Any]]) -> list[StoredEmbedding]:
    return [
        StoredEmbedding(
            id=row["id"],
            bucket_id=row["bucket_id"],
            content=row["content"],
            embedding=np.array(json.loads(row["embedding"]), dtype=np.float32),
        )
        for row in rows
    ]
