"""The index as a caller sees it: one line per SQL function. Row level security decides what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from shared.errors import InvalidQuery, ModelNotLoaded, Unauthorized
from shared.supabase.database import Database, foreign_answer

Row = TypeVar("Row", "ActiveModel", "Match", "WordMatch", "Recommendation", "Named", "ObjectState")

EVERYTHING = -2.0  # a similarity threshold below every cosine similarity


@dataclass(frozen=True, kw_only=True)
class ActiveModel:
    """The model whose vectors the search compares."""

    name: str
    dimensions: int


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments that all search functions have in common."""

    model: str
    kind: str  # of the query's examples: image, text or mixed
    limit: int
    offset: int = 0
    after: dict[str, Any] | None = None  # the last result before the page
    threshold: float | None = None
    min_confidence: str | None = None
    best_confidence: str | None = None
    filter: Mapping[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """By the SQL functions' names; None where the database's default holds."""
        return {
            "model": self.model,
            "query_kind": self.kind,
            "match_count": self.limit,
            "skip_count": self.offset,
            "page_after": self.after,
            "similarity_threshold": self.threshold,
            "min_confidence": self.min_confidence,
            "best_confidence": self.best_confidence,
            "filter": self.filter or None,
        }


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

    @property
    def key(self) -> dict[str, Any]:
        """Its place in the order of results, as `after` takes it."""
        return {"similarity": self.similarity, "id": self.id}


@dataclass(frozen=True, kw_only=True)
class Scored(Match):
    """A document whose place a score decides."""

    score: float
    duplicates: list[dict[str, Any]]  # its copies, {id, bucket, name}, where they are collapsed

    @property
    def key(self) -> dict[str, Any]:
        return {"score": self.score, "id": self.id}


@dataclass(frozen=True, kw_only=True)
class Recommendation(Scored):
    """One document that is like some examples."""

    closest: int | None  # the place in likes of the nearest; None where there are only unlikes


@dataclass(frozen=True, kw_only=True)
class WordMatch(Scored):
    """One document that a search by image and words found: its score is similarity and a bonus for words."""

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


def active_model(database: Database) -> ActiveModel:
    """The active model; ModelNotLoaded where none is. Unauthorized where the caller's token names no role of
    the database: no other value of theirs could be wrong."""
    try:
        rows = database.rows("active_model")
    except InvalidQuery as error:
        text = "The token's role is none that this project has."
        raise Unauthorized(f"{error}. {text}", told=text) from error
    if not rows:
        raise ModelNotLoaded("No model is active. Run `neural-search models activate NAME`.")
    return _read(ActiveModel, rows)[0]


def match(database: Database, embedding: np.ndarray, options: Options) -> list[Match]:
    """The documents most similar to `embedding`."""
    return _read(
        Match, database.rows("match_documents", query_embedding=_listed(embedding), **options.arguments)
    )


def match_words(
    database: Database,
    embedding: np.ndarray,
    text: str,
    options: Options,
    *,
    words: float | None,
    diversity: float | None,
    collapse: str | None,
) -> list[WordMatch]:
    """The documents whose images are similar to `embedding`, made of `text`, or whose paths and metadata have
    its words, which weigh `words` (None: the database's default)."""
    rows = database.rows(
        "search_documents",
        query_embedding=_listed(embedding),
        query_text=text,
        words=words,
        diversity=diversity,
        collapse=collapse,
        **options.arguments,
    )
    return _read(WordMatch, rows)


def recommend(
    database: Database,
    likes: Sequence[dict[str, Any]],
    unlikes: Sequence[dict[str, Any]],
    options: Options,
    *,
    strategy: str,
    diversity: float,
    collapse: str | None,
) -> list[Recommendation]:
    """The documents like some examples, {id} or {embedding} each with a weight, and unlike others."""
    rows = database.rows(
        "recommend_documents",
        likes=likes,
        unlikes=unlikes,
        strategy=strategy,
        diversity=diversity,
        collapse=collapse,
        **options.arguments,
    )
    return _read(Recommendation, rows)


def named(database: Database, names: Sequence[str], *, model: str) -> list[Named]:
    """The documents of `path` or `bucket/path`, in whichever bucket; their vectors stay in the database."""
    columns = [field.name for field in fields(Named)]
    return _read(Named, database.rows("get_embeddings", columns, names=list(names), model=model))


def object_states(database: Database, bucket: str, names: Sequence[str]) -> list[ObjectState]:
    return _read(ObjectState, database.rows("object_states", bucket=bucket, names=list(names)))


def _read(kind: type[Row], rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Of each row the columns that its dataclass names."""
    try:
        return [kind(**{field.name: row[field.name] for field in fields(kind)}) for row in rows]
    except KeyError as error:
        raise foreign_answer("A function", f"rows without {error}") from error


def _listed(embedding: np.ndarray) -> list[float]:
    listed: list[float] = embedding.astype(float).tolist()
    return listed
