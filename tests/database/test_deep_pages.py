"""A search holds no list of all documents: it takes them to the disk, or says how deep is too deep."""

from __future__ import annotations

import sys

import psutil
import psycopg
import pytest
from support.databases import Clone, Connection
from support.process_use import Use, measured

NUMBER = 50_004  # as the search looks at 12,501 first, and then at four times as many
PAGE = """
    select count(*) from public.match_documents('[1, 0]', %(threshold)s, 1, 10000, page_after => %(after)s,
      filter => jsonb_build_object('prefix', %(prefix)s::text))
"""


@pytest.fixture
def equals(database: Clone, db: Connection) -> Connection:
    """So many documents with a similarity of 0.6."""
    with database.connect("supabase_admin") as platform, platform.transaction():
        platform.execute("set local session_replication_role = 'replica'")
        platform.execute("update neural_search.models set state = 'retired'")
        platform.execute(
            "insert into neural_search.models (name, dimensions, state, search_strategy)"
            " values ('tiny', 2, 'active', 'exact')"
        )
        indexes = "bucket_id, prefix, owner_id, mime_type, byte_size, uploaded_at, metadata, content_hash"
        for name in indexes.split(", "):
            platform.execute(f"drop index neural_search.documents_{name}_idx")
        platform.execute(
            """
            with objects as (
              insert into storage.objects (bucket_id, name, version)
              select 'images', n::text, 'v' from generate_series(1, %s) as n returning id, name
            )
            insert into neural_search.documents
              (object_id, bucket_id, content, model, embedding, object_version)
            select o.id, 'images', o.name, 'tiny', '[3, 4]', 'v' from objects as o
            """,
            [NUMBER],
        )
    return db


def test_a_page_below_fifty_thousand_results_is_refused_with_the_remedy(equals):
    def page(prefix: str = "", threshold: float = -1.0):
        after = '{"similarity": -1, "id": 1, "rank": 2497}'
        return equals.execute(PAGE, {"after": after, "prefix": prefix, "threshold": threshold}).fetchone()

    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"deeper than \d+ results") as error:
        page()
    assert "by filter" in error.value.diag.message_hint
    assert page(prefix="1") == page(threshold=0.7) == (0,)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="process_use needs /proc")
def test_comparing_everything_by_the_best_score_holds_no_list_of_it(equals):
    """Each document, as a match in an array, took 960 bytes; sorting may take work_mem."""

    def recommend() -> None:
        rows = equals.execute(
            "select id from public.recommend_documents(%s, strategy => 'best_score', match_count => 10)",
            ['[{"embedding": [1, 0]}, {"embedding": [0, 1]}]'],
        ).fetchall()
        assert rows == [(number,) for number in range(1, 11)]

    equals.execute("set work_mem = '256kB'")
    recommend()  # caches are filled
    with measured(psutil.Process(equals.info.backend_pid), Use()) as use:
        recommend()
    assert use.bytes < 200 * NUMBER
