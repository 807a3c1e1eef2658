"""Exact search, HNSW and LSH on the same documents: recall, time and size.

Asked by a superuser, past all policies, of all documents. `exact` compares all vectors. `hnsw` is the
product's index: its 50 nearest in half precision are ordered again exactly. `lsh` takes the
nearest by Hamming distance of their sign bits (`neural_search.lsh_bits`) from an index over those, and orders
them again exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.search_queries import Collection, K, Turns, take_turns
from benchmarks.search_rows import Connection, Show

HNSW_CANDIDATES = 50  # match_documents looks at 52 for a page of ten
LSH_CANDIDATES = 400
QUERIES = 100
SECONDS = 6.0  # for the queries of one strategy
EXACT_QUERIES = 20


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One strategy on one collection."""

    strategy: str
    dimensions: int
    vectors: int
    recall: float  # of the 10 nearest, mean over the queries
    p50_ms: float
    p95_ms: float
    build_seconds: float
    bytes_per_image: float  # of the vectors, the index, or the bits with theirs

    def row(self) -> dict[str, Any]:
        return asdict(self)


def measure(connection: Connection, collection: Collection, show: Show) -> list[Measurement]:
    """Each strategy; HNSW's index of the model stays, as the product has it, the others are taken away."""
    strategies: list[Callable[[], tuple[str, str, float, float]]] = [
        lambda: _exact(connection, collection),
        lambda: _lsh(connection, collection),
        lambda: _hnsw(connection, collection),
    ]
    found = []
    for done, strategy in enumerate(strategies):
        size = f"{len(collection.stored):,} of {collection.dimensions}"
        show(f"strategies, {size}", done, len(strategies))
        name, statement, build_seconds, weight = strategy()
        rounds = EXACT_QUERIES if name == "exact" else QUERIES
        turns = take_turns(connection, collection, {name: statement}, rounds=rounds, seconds=SECONDS)[name]
        found.append(_measurement(name, collection, turns, build_seconds, weight))
        if name == "lsh":
            connection.execute("drop index neural_search.by_hand_lsh")
            connection.execute("vacuum (full, analyze) neural_search.documents")  # each row was written twice
    return sorted(found, key=lambda one: ("exact", "hnsw", "lsh").index(one.strategy))


def build_hnsw(connection: Connection, model: str, dimensions: int) -> None:
    """The model's index, as the migrations and `models add` make it."""
    (row,) = connection.execute(
        "select neural_search.index_name(%s), neural_search.index_definition(%s, %s, 'hnsw')",
        [model, model, dimensions],
    ).fetchall()
    connection.execute(f'drop index if exists neural_search."{row[0]}"'.encode())
    connection.execute(f'create index "{row[0]}" on neural_search.documents {row[1]}'.encode())


def _exact(connection: Connection, collection: Collection) -> tuple[str, str, float, float]:
    weight = _value(connection, "pg_table_size('neural_search.documents')") / len(collection.stored)
    return "exact", f"{_nearest(collection.model)} order by embedding <=> %(query)s limit {K}", 0.0, weight


def _hnsw(connection: Connection, collection: Collection) -> tuple[str, str, float, float]:
    began = time.perf_counter()
    build_hnsw(connection, collection.model, collection.dimensions)
    seconds = time.perf_counter() - began
    connection.execute(f"set hnsw.ef_search = {HNSW_CANDIDATES}".encode())
    connection.execute("set enable_sort = off")  # as match_documents has it: of 10,000, sorting looks cheaper
    half = f"halfvec({collection.dimensions})"
    order = f"embedding::{half} <=> %(query)s::vector::{half}"
    name = _value(connection, "neural_search.index_name(%s)", collection.model, of=str)
    weight = _value(connection, "pg_relation_size(%s)", f"neural_search.{name}") / len(collection.stored)
    return "hnsw", _ranked(collection.model, order, HNSW_CANDIDATES), seconds, weight


def _lsh(connection: Connection, collection: Collection) -> tuple[str, str, float, float]:
    """Build time includes the bits of all documents, and the weight those bits."""
    model = collection.model
    began = time.perf_counter()
    connection.execute("select setseed(0.5)")  # the same planes in each run
    bits = _value(connection, "neural_search.prepare_lsh(%s)", model)
    connection.execute("select neural_search.fill_lsh(%s, %s)", [model, len(collection.stored)])
    index = f"using hnsw ((lsh::bit({bits})) bit_hamming_ops)"
    connection.execute(f"create index by_hand_lsh on neural_search.documents {index}".encode())
    seconds = time.perf_counter() - began
    connection.execute("vacuum (analyze) neural_search.documents")
    connection.execute(f"set hnsw.ef_search = {LSH_CANDIDATES}".encode())
    connection.execute("set enable_sort = off")  # as match_documents has it: sorting can look cheaper
    order = f"lsh::bit({bits}) <~> (select neural_search.lsh_bits(%(query)s, '{model}')::bit({bits}))"
    size = _value(connection, "pg_relation_size('neural_search.by_hand_lsh')")
    weight = size / len(collection.stored) + bits / 8
    return "lsh", _ranked(model, order, LSH_CANDIDATES), seconds, weight


def _nearest(model: str) -> str:
    return (
        f"select content, 1 - (embedding <=> %(query)s) from neural_search.documents where model = '{model}'"
    )


def _ranked(model: str, order: str, candidates: int) -> str:
    """The first by `order`, ordered again exactly."""
    return f"""
        select content, 1 - distance from (
          select content, embedding <=> %(query)s as distance from neural_search.documents
          where model = '{model}' order by {order} limit {candidates}
        ) as near order by distance limit {K}
        """


def _value(connection: Connection, expression: str, *values: Any, of: Callable[[Any], Any] = int) -> Any:
    ((found,),) = connection.execute(f"select {expression}".encode(), values).fetchall()
    return of(found)


def _measurement(
    name: str, collection: Collection, turns: Turns, build_seconds: float, weight: float
) -> Measurement:
    return Measurement(
        strategy=name,
        dimensions=collection.dimensions,
        vectors=len(collection.stored),
        recall=turns.recall,
        p50_ms=turns.percentile(50),
        p95_ms=turns.percentile(95),
        build_seconds=build_seconds,
        bytes_per_image=weight,
    )
