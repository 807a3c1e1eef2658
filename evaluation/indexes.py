"""An index's losses and gains against exact search: recall, latency, time to build and size.

Measured in Postgres with pgvector, in one transaction that is rolled back: nothing stays behind, and a pooler
that shares connections is no trouble. An index's loss is told apart from the model's: recall here is the
share of the truly nearest images that the index finds, right or wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors, sql

from evaluation.measures import bootstrap_interval
from shared.errors import CollectionError, DatabaseError, DatabaseForbidden, DatabaseUnavailable

Vectors = NDArray[np.float32]
Connection = psycopg.Connection[tuple[Any, ...]]

K = 10
QUERIES = 500  # the collection's own images, chosen by the seed, each without itself
WARM_UP = 10
TIE = 1e-6  # of equally near images any will do
SPARE = 40  # candidates beyond those wanted, as match_documents has them
LSH_BITS = 512
LSH_CANDIDATES = 100
MAX_DIMENSIONS = 4000  # of a halfvec in an index

WHERE_PGVECTOR_IS = """
select n.nspname from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace
where e.extname = 'vector'
"""

Progress = Callable[[str, int, int], None]  # label, done, total


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One strategy on one method's vectors."""

    strategy: str
    recall: float  # mean over the queries of the share of the 10 nearest that is found
    low: float  # its 95% interval
    high: float
    p50_ms: float  # of one query on one connection, as the client sees it
    p95_ms: float
    build_seconds: float
    bytes_per_image: float  # of the table's vectors, the index, or the bits

    def row(self, method: str) -> dict[str, Any]:
        """As the report has it."""
        values = asdict(self)
        return {
            "method": method,
            "strategy": values.pop("strategy"),
            "recall@10": values.pop("recall"),
            **values,
        }


def measure(
    url: str, vectors: Vectors, *, seed: int, queries: int = QUERIES, progress: Progress | None = None
) -> list[Measurement]:
    """Each strategy on `vectors`, (n, dimensions) of unit length, in the database at `url`.

    CollectionError where there are too few images, or the database has no pgvector and this role may not
    create it.
    """
    count, dimensions = vectors.shape
    if count <= K or dimensions > MAX_DIMENSIONS:
        raise CollectionError(
            f"Indexes can't be compared on {count} vectors of {dimensions} dimensions. Expected more than "
            f"{K} vectors of at most {MAX_DIMENSIONS}."
        )
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(count, min(queries, count), replace=False))
    planes = _planes(dimensions, rng)
    with _scratch(url) as database:
        _fill(database, vectors)
        strategies = (Exact(database, dimensions), Hnsw(database, dimensions), Lsh(database, vectors, planes))
        measurements = []
        for strategy in strategies:
            with database.transaction(force_rollback=True):  # nothing of one strategy is there for the next
                measurements.append(_measure(strategy, vectors, chosen, seed, progress))
        return measurements


class Exact:
    """Every vector is compared."""

    name = "exact"

    def __init__(self, database: Connection, dimensions: int):
        self._database = database
        self._query = "select id from images order by embedding <=> %s::vector, id limit %s"

    def build(self) -> None:
        """There is nothing to build."""

    def size(self) -> int:
        return _size(self._database, "images")

    def search(self, query: Vectors, limit: int) -> list[int]:
        return _ids(self._database, self._query, [_text(query), limit])


class Hnsw:
    """The product's index: a graph over half-precision vectors, whose best are ordered again exactly.

    Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
    Navigable Small World graphs", 2016.
    """

    name = "hnsw"

    def __init__(self, database: Connection, dimensions: int):
        self._database = database
        self._dimensions = dimensions
        self._query = f"""
            select id from (
              select id, embedding <=> %(query)s::vector as distance from images
              order by embedding::halfvec({dimensions}) <=> %(query)s::vector::halfvec({dimensions})
              limit %(candidates)s
            ) as nearest
            order by distance, id limit %(limit)s
            """

    def build(self) -> None:
        column = f"(embedding::halfvec({self._dimensions})) halfvec_cosine_ops"
        self._database.execute(f"create index images_hnsw on images using hnsw ({column})".encode())
        candidates = str(K + 1 + SPARE)
        for name, value in (("iterative_scan", "strict_order"), ("ef_search", candidates)):
            self._database.execute("select set_config('hnsw.' || %s, %s, true)", [name, value])
        self._database.execute("set local enable_seqscan = off")  # few images: the planner would not use it

    def size(self) -> int:
        return _size(self._database, "images_hnsw")

    def search(self, query: Vectors, limit: int) -> list[int]:
        values = {"query": _text(query), "candidates": limit + SPARE, "limit": limit}
        return _ids(self._database, self._query, values)


class Lsh:
    """Locality-sensitive hashing: on which side of 512 random planes through the mean a vector lies.

    The nearest by Hamming distance are ordered again exactly. Charikar, "Similarity estimation techniques
    from rounding algorithms", 2002.
    """

    name = "lsh"

    def __init__(self, database: Connection, vectors: Vectors, planes: Vectors):
        self._database = database
        self._vectors = vectors
        self._planes = planes
        self._mean = vectors.mean(axis=0)
        self._query = f"""
            select id from (
              select id from hashes
              order by bits <~> %(bits)s::bit({planes.shape[1]}), id limit %(candidates)s
            ) as near
            join images using (id)
            order by embedding <=> %(query)s::vector, id limit %(limit)s
            """

    def build(self) -> None:
        bits = self._planes.shape[1]
        _create(self._database, "hashes", f"bits bit({bits})")
        length = bits.to_bytes(4, "big")
        rows = (length + bits.tobytes() for bits in np.packbits(self._signs(self._vectors), axis=1))
        _copy(self._database, "hashes", rows)

    def size(self) -> int:
        return _size(self._database, "hashes")

    def search(self, query: Vectors, limit: int) -> list[int]:
        bits = "".join("1" if one else "0" for one in self._signs(query))
        values = {"bits": bits, "query": _text(query), "candidates": LSH_CANDIDATES, "limit": limit}
        return _ids(self._database, self._query, values)

    def _signs(self, vectors: Vectors) -> NDArray[np.bool_]:
        signs: NDArray[np.bool_] = (vectors - self._mean) @ self._planes > 0
        return signs


Strategy = Exact | Hnsw | Lsh


def _measure(
    strategy: Strategy, vectors: Vectors, chosen: NDArray[np.intp], seed: int, progress: Progress | None
) -> Measurement:
    began = time.perf_counter()
    strategy.build()
    build_seconds = time.perf_counter() - began
    for query in vectors[chosen[:WARM_UP]]:
        strategy.search(query, K + 1)
    milliseconds, recalls = [], []
    for done, row in enumerate(chosen, 1):
        began = time.perf_counter()
        found = strategy.search(vectors[row], K + 1)
        milliseconds.append((time.perf_counter() - began) * 1000)
        recalls.append(_recall(vectors, int(row), found))
        if progress:
            progress(strategy.name, done, len(chosen))
    low, high = bootstrap_interval(np.array(recalls), seed=seed)
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return Measurement(
        strategy=strategy.name,
        recall=float(np.mean(recalls)),
        low=low,
        high=high,
        p50_ms=float(p50),
        p95_ms=float(p95),
        build_seconds=build_seconds,
        bytes_per_image=strategy.size() / len(vectors),
    )


def _recall(vectors: Vectors, row: int, found: Sequence[int]) -> float:
    """The share of the 10 nearest of image `row`, without itself, that is `found`; not from Postgres."""
    similarities = vectors @ vectors[row]
    similarities[row] = -np.inf
    enough = np.partition(similarities, -K)[-K] - TIE
    others = [one for one in found if one != row][:K]
    return float(np.count_nonzero(similarities[others] >= enough)) / K


def _planes(dimensions: int, rng: np.random.Generator) -> Vectors:
    """Normals of random planes, (dimensions, bits), perpendicular to each other as far as there is room."""
    blocks, bits = [], 0
    while bits < LSH_BITS:
        rotation, _ = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))
        blocks.append(rotation[:, : LSH_BITS - bits])
        bits += blocks[-1].shape[1]
    return np.concatenate(blocks, axis=1).astype(np.float32)


@contextmanager
def _scratch(url: str) -> Iterator[Connection]:
    """A transaction that finds pgvector's types, and leaves nothing behind."""
    try:
        with (
            psycopg.connect(url, connect_timeout=10, prepare_threshold=None) as database,
            database.transaction(force_rollback=True),
        ):
            _find_pgvector(database)
            yield database
    except errors.InsufficientPrivilege as error:
        raise DatabaseForbidden(
            f"The database refused: {_first_line(error)}. Indexes are compared in temporary tables with "
            "pgvector: create the extension `vector` there, or unset DATABASE_URL and let a temporary "
            "Postgres be used."
        ) from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database doesn't answer: {_first_line(error)}.") from error
    except psycopg.Error as error:
        raise DatabaseError(f"The database refused: {_first_line(error)} ({error.sqlstate}).") from error


def _find_pgvector(database: Connection) -> None:
    """Operators and types of pgvector on the path, wherever the project has put the extension."""
    found = database.execute(WHERE_PGVECTOR_IS).fetchone()
    if not found:
        database.execute("create extension vector")
        found = database.execute(WHERE_PGVECTOR_IS).fetchone()
    assert found
    database.execute(
        sql.SQL("set local search_path to pg_temp, {}, pg_catalog").format(sql.Identifier(found[0]))
    )
    database.execute("set local statement_timeout = 0")  # a large index takes minutes


def _fill(database: Connection, vectors: Vectors) -> None:
    dimensions = vectors.shape[1]
    _create(database, "images", f"embedding vector({dimensions})")
    head = dimensions.to_bytes(2, "big") + b"\0\0"
    _copy(database, "images", (head + row.tobytes() for row in vectors.astype(">f4")))
    database.execute("analyze images")


def _create(database: Connection, table: str, column: str) -> None:
    statement = f"create temporary table {table} (id integer primary key, {column}) on commit drop"
    database.execute(statement.encode())


def _copy(database: Connection, table: str, values: Iterator[bytes]) -> None:
    """Rows of a number from 0 up and a value in Postgres' own binary form."""
    statement = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier(table))
    with database.cursor().copy(statement) as copy:
        copy.set_types(["int4", "bytea"])
        for number, value in enumerate(values):
            copy.write_row((number, value))


def _ids(database: Connection, query: str, values: Any) -> list[int]:
    return [row[0] for row in database.execute(query.encode(), values)]


def _size(database: Connection, name: str) -> int:
    """Bytes of a table with its TOAST table, or of an index."""
    found = database.execute("select pg_table_size(%s::regclass)", [name]).fetchone()
    assert found
    return int(found[0])


def _text(vector: Vectors) -> str:
    return "[" + ",".join(f"{value:.9g}" for value in vector.tolist()) + "]"


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().split("\n")[0]
