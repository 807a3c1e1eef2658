"""Queries that are timed: statements by hand and our function, on one connection, and their results."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from benchmarks.mixture import Vectors
from benchmarks.search_rows import Connection, number_of

K = 10
FEWEST = 3  # rounds, however long they take
TIE = 1e-6  # of equally near images any will do


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The stored vectors, and the queries."""

    model: str
    stored: Vectors  # (n, dimensions), of unit length; row i is the object number i
    queries: Vectors  # (m, dimensions), held out

    @property
    def dimensions(self) -> int:
        return int(self.stored.shape[1])

    def recall(self, query: int, names: Sequence[str], visible: NDArray[np.bool_] | None = None) -> float:
        """The share of the 10 nearest visible images among `names`; not from Postgres."""
        similarities = self.stored @ self.queries[query]
        if visible is not None:
            similarities[~visible] = -np.inf
        wanted = min(K, len(similarities) if visible is None else int(visible.sum()))
        if not wanted:
            return 1.0  # nothing to be found
        enough = np.partition(similarities, -wanted)[-wanted] - TIE
        found = [number_of(name) for name in names][:wanted]
        return float(np.count_nonzero(similarities[found] >= enough)) / wanted


@dataclass(kw_only=True)
class Turns:
    """One statement's results for each of its queries."""

    milliseconds: list[float] = field(default_factory=list)  # as the client sees it
    recalls: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)  # rows returned

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.milliseconds, share))

    @property
    def recall(self) -> float:
        return float(np.mean(self.recalls))


def ask(connection: Connection, statement: str, vector: Vectors, **values: Any) -> tuple[float, list[str]]:
    """Milliseconds and the names found; `%(query)s` in the statement is the vector."""
    values["query"] = text(vector)
    began = time.perf_counter()
    rows = connection.execute(statement.encode(), values).fetchall()
    return (time.perf_counter() - began) * 1000, [row[0] for row in rows]


def take_turns(
    connection: Connection,
    collection: Collection,
    statements: dict[str, str],
    *,
    rounds: int,
    seconds: float,
    visible: NDArray[np.bool_] | None = None,
    values: dict[str, Any] | None = None,
) -> dict[str, Turns]:
    """Each statement once for each query, in another order each round; a first round isn't counted.

    Ends after `rounds`, or after the first three of them that have taken `seconds`.
    """
    names, turns = list(statements), {name: Turns() for name in statements}
    for name in names:
        ask(connection, statements[name], collection.queries[0], **(values or {}))
    until = time.monotonic() + seconds
    for number in range(rounds):
        if number >= FEWEST and time.monotonic() > until:
            break
        query = (number + 1) % len(collection.queries)
        start = number % len(names)
        for name in [*names[start:], *names[:start]]:
            spent, found = ask(connection, statements[name], collection.queries[query], **(values or {}))
            turns[name].milliseconds.append(spent)
            turns[name].recalls.append(collection.recall(query, found, visible))
            turns[name].counts.append(len(found))
    return turns


@contextmanager
def acting(connection: Connection, role: str, claims: dict[str, Any]) -> Iterator[None]:
    """The session as PostgREST has it for a caller, in the block."""
    set_config = "select set_config('role', %s, false), set_config('request.jwt.claims', %s, false)"
    connection.execute(set_config, [role, json.dumps({"role": role, **claims})])
    try:
        yield
    finally:
        connection.execute("reset role")
        connection.execute("select set_config('request.jwt.claims', '', false)")


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Statements by hand walk an index as far as they need to, as ours does, at pgvector's own defaults."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("set search_path to public, extensions")
        connection.execute("select '[1]'::vector")  # loads pgvector, which has the next setting
        connection.execute("set hnsw.iterative_scan = 'strict_order'")
        yield connection


def text(vector: Vectors) -> str:
    """As pgvector reads it."""
    return "[" + ",".join(f"{value:.9g}" for value in vector.tolist()) + "]"
