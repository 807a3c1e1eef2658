"""Searches of callers who may see most of it look once into the model's index, and read no table."""

from __future__ import annotations

import random

import pytest
from support.databases import as_role, clone, make_crowd

ROWS = 3000
ME = "00000000-0000-4000-8000-000000000001"
QUERY = "[1,1,1,1,1,1,1,1]"


@pytest.fixture(scope="module")
def crowd(cluster, template):
    """Thousands of documents of a small model, of which the caller owns one in a hundred."""
    numbers = random.Random(0)
    embeddings = [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(ROWS)]
    with clone(cluster, template) as database:
        make_crowd(
            database,
            embeddings,
            names=[f"{n}.png" for n in range(1, ROWS + 1)],
            owners=[None if n % 100 else ME for n in range(1, ROWS + 1)],
        )
        yield database


def scans(connection):
    """How often this session has scanned the index, and read whole tables."""
    return connection.execute("""
        select pg_stat_get_xact_numscans('neural_search.documents_tiny_idx'::regclass),
          pg_stat_get_xact_numscans('neural_search.documents'::regclass)
          + pg_stat_get_xact_numscans('storage.objects'::regclass)
    """).fetchone()


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
@pytest.mark.parametrize(
    "narrowed", ["", """, filter => '{"bucket": "images"}'""", """, filter => '{"prefix": "1"}'"""]
)
def test_a_search_is_one_scan_of_the_models_index(crowd, role, narrowed):
    with crowd.connect() as connection, as_role(connection, role):
        rows = connection.execute(
            f"select id from public.match_documents('{QUERY}', 0, 10{narrowed})"
        ).fetchall()
        assert (len(rows), scans(connection)) == (10, (1, 0))
