"""The index as a caller sees it: one line per SQL function. Row level security decides what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from shared.errors import InvalidQuery, Unauthorized
from shared.supabase.database import Database

MOST = 1000  # results of one call of the search functions


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
    confidence: str | None  # same, strong, related or unrelated; None where the model has no levels


@dataclass(frozen=True, kw_only=True)
class Recommendation(Match):
    """One document that is like some examples."""

    score: float  # orders the results
    closest: int | None  # the place in likes of the nearest; None where there are only unlikes
    duplicates: list[dict[str, Any]]  # its copies, {id, bucket, name}, where they are collapsed


@dataclass(frozen=True, kw_only=True)
class WordMatch(Match):
    """One document that a search by image and words found."""

    score: float  # orders the results: similarity, and what its words add
    found_by: list[str]  # image, name, metadata


@dataclass(frozen=True, kw_only=True)
class Named:
    """A document that a name means, or may mean."""

    id: int
    bucket_id: str
    content: str


@dataclass(frozen=True, kw_only=True)
class ObjectState:
    """Whether an object can be found yet, and if not, why."""

    name: str
    object_id: str | None
    state: str  # searchable, pending, skipped, failed, ignored or unknown
    reason: str | None


def active_model(database: Database) -> ActiveModel | None:
    """The active model; None where none is. Unauthorized where the caller's token names no role of the
    database: no other value of theirs could be wrong."""
    try:
        rows = database.call("active_model")
    except InvalidQuery as error:
        raise Unauthorized(f"{error}. The token's role is none that this project has.") from error
    return ActiveModel(name=rows[0]["name"], dimensions=rows[0]["dimensions"]) if rows else None


def match(
    database: Database,
    embedding: np.ndarray,
    *,
    model: str,
    kind: str,
    limit: int,
    offset: int = 0,
    after: dict[str, Any] | None = None,
    threshold: float | None = None,
    min_confidence: str | None = None,
    best_confidence: str | None = None,
    filter: Mapping[str, Any] | None = None,
    query: tuple[str, float | None] | None = None,
) -> list[Match]:
    """The documents most similar to `embedding`, which `model` made of an image, a text or both (`kind`).

    With `query`, a text and the weight of words (None: the database's default), paths and metadata count too:
    `WordMatch`es.
    """
    text, words = query or (None, None)
    rows = database.call(
        "search_documents" if query else "match_documents",
        query_embedding=embedding.astype(float).tolist(),
        model=model,
        query_kind=kind,
        match_count=limit,
        skip_count=offset,
        page_after=after,
        similarity_threshold=threshold,
        min_confidence=min_confidence,
        best_confidence=best_confidence,
        filter=filter or None,
        **({"query_text": text, "words": words} if query else {}),
    )
    found = WordMatch if query else Match
    return [found(**{field.name: row[field.name] for field in fields(found)}) for row in rows]


def recommend(
    database: Database,
    likes: Sequence[dict[str, Any]],
    unlikes: Sequence[dict[str, Any]],
    *,
    model: str,
    kind: str,
    strategy: str,
    diversity: float,
    collapse: str | None,
    limit: int,
    offset: int,
    after: dict[str, Any] | None = None,
    threshold: float | None = None,
    min_confidence: str | None = None,
    best_confidence: str | None = None,
    filter: Mapping[str, Any] | None = None,
) -> list[Recommendation]:
    """What is like some examples, {id} or {embedding} each with a weight, and unlike others."""
    rows = database.call(
        "recommend_documents",
        likes=likes,
        unlikes=unlikes,
        model=model,
        query_kind=kind,
        strategy=strategy,
        diversity=diversity,
        collapse=collapse,
        match_count=limit,
        skip_count=offset,
        page_after=after,
        similarity_threshold=threshold,
        min_confidence=min_confidence,
        best_confidence=best_confidence,
        filter=filter or None,
    )
    return [
        Recommendation(**{field.name: row[field.name] for field in fields(Recommendation)}) for row in rows
    ]


def named(database: Database, names: Sequence[str], *, model: str) -> list[Named]:
    """The documents of `path` or `bucket/path`, in whichever bucket; their vectors stay in the database."""
    columns = [field.name for field in fields(Named)]
    rows = database.call("get_embeddings", columns, names=list(names), model=model)
    return [Named(**row) for row in rows]


def object_states(database: Database, bucket: str, names: Sequence[str]) -> list[ObjectState]:
    rows = database.call("object_states", bucket=bucket, names=list(names))
    return [ObjectState(**{field: row[field] for field in ObjectState.__annotations__}) for row in rows]
