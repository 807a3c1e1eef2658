"""Index strategies, in a real Postgres with pgvector."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from support.databases import Clone

from evaluation import indexes
from local.postgres import SUPERUSER
from shared.errors import CollectionError, DatabaseForbidden, DatabaseUnavailable

RELATIONS = "select count(*) from pg_class"
EXTENSIONS = "select extname from pg_extension order by 1"


def clustered(count: int, dimensions: int = 64) -> indexes.Vectors:
    """Unit vectors around twenty centres."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(20, dimensions))
    vectors = centres[random.integers(20, size=count)] + 0.6 * random.normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def look(database: Clone, query: str) -> object:
    with database.connect(SUPERUSER) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.fixture(scope="module")
def vectors() -> indexes.Vectors:
    return clustered(1200)


def test_exact_search_misses_nothing_and_the_others_little(database: Clone, vectors: indexes.Vectors):
    found = {one.strategy: one for one in indexes.measure(database.url(), vectors, seed=0, queries=60)}
    assert list(found) == ["exact", "hnsw", "lsh"]
    assert found["exact"].recall == 1
    assert 0.95 < found["hnsw"].recall <= 1 and 0.8 < found["lsh"].recall <= 1
    for one in found.values():
        assert one.low <= one.recall <= one.high and 0 < one.p50_ms <= one.p95_ms
    assert found["lsh"].bytes_per_image < found["hnsw"].bytes_per_image / 2


def test_the_same_seed_gives_the_same_recall(database: Clone, vectors: indexes.Vectors):
    first, second = (indexes.measure(database.url(), vectors[:300], seed=3, queries=20) for _ in range(2))
    assert [one.recall for one in first if one.strategy != "hnsw"] == [
        one.recall for one in second if one.strategy != "hnsw"
    ]


def test_nothing_stays_behind(database: Clone, vectors: indexes.Vectors):
    before = look(database, RELATIONS)
    indexes.measure(database.url(), vectors[:200], seed=0, queries=5)
    assert look(database, RELATIONS) == before


def test_a_database_without_pgvector_gets_it_for_the_time_being(
    bare_database: Clone, vectors: indexes.Vectors
):
    with bare_database.connect(SUPERUSER) as connection:
        connection.execute("drop extension vector cascade")
    before = look(bare_database, EXTENSIONS)
    assert ("vector",) not in before
    assert indexes.measure(bare_database.url(SUPERUSER), vectors[:200], seed=0, queries=5)
    assert look(bare_database, EXTENSIONS) == before


def test_a_role_that_may_create_nothing_is_told_what_to_do(database: Clone, vectors: indexes.Vectors):
    with database.connect(SUPERUSER) as connection:
        connection.execute(f'revoke temporary on database "{database.name}" from public, postgres'.encode())
    url = database.url("authenticator")
    with pytest.raises(DatabaseForbidden, match="unset DATABASE_URL"):
        indexes.measure(url, vectors[:200], seed=0, queries=5)


def test_images_that_are_equally_near_count_alike(database: Clone, vectors: indexes.Vectors):
    """Thirty copies of each image: which ten of them are found doesn't matter."""
    copies = np.repeat(vectors[:10], 30, axis=0)
    found = indexes.measure(database.url(), copies, seed=0, queries=30)
    assert [one.recall for one in found if one.strategy != "hnsw"] == [1, 1]


def test_each_strategy_counts_towards_the_progress(database: Clone, vectors: indexes.Vectors):
    told: list[tuple[str, int, int]] = []
    indexes.measure(
        database.url(), vectors[:100], seed=0, queries=4, progress=lambda *step: told.append(step)
    )
    assert [step for step in told if step[1] == step[2]] == [("exact", 4, 4), ("hnsw", 4, 4), ("lsh", 4, 4)]


def test_recall_is_what_a_plain_count_says(vectors: indexes.Vectors):
    few = vectors[:40]
    nearest = [int(row) for row in np.argsort(-(few @ few[7])) if row != 7][:10]
    assert indexes._recall(few, 7, [7, *nearest]) == 1
    far = [int(row) for row in np.argsort(few @ few[7])[:4]]
    assert indexes._recall(few, 7, [*nearest[:6], *far]) == 0.6


@pytest.mark.parametrize("shape", [(10, 8), (50, 4001)])
def test_what_cannot_be_indexed_is_refused(shape: tuple[int, int]):
    with pytest.raises(CollectionError, match=rf"{shape[0]} vectors of {shape[1]} dimensions"):
        indexes.measure("postgresql://", np.zeros(shape, np.float32), seed=0)


def test_a_database_that_does_not_answer_is_named_without_its_password(vectors: indexes.Vectors):
    with pytest.raises(DatabaseUnavailable) as caught:
        indexes.measure("postgresql://postgres:hunter2@127.0.0.1:9/postgres", vectors, seed=0)
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value.__cause__, psycopg.Error)
