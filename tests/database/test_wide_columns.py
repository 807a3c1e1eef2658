"""Searches read metadata for their page alone, however many documents they come across."""

from __future__ import annotations

import pytest
from support.databases import WIDE_READS, as_role, clone, make_crowd

ROWS = 600
PAGE = 10
WIDE = """
    update neural_search.documents set metadata = jsonb_build_object('noise', (
      select string_agg(md5(documents.id || '.' || n), '') from generate_series(1, 512) as n
    ))
"""
POLICIES = {
    "all seen": "true",
    "few seen": "owner_id is not null",
    "one fails": f"1 / ({ROWS - 1} - version::integer) is not null",
}
LIKES = """'[{"embedding": [1, 1]}, {"id": 3}]'"""
SEARCHES = {
    "match_documents": "match_documents('[1, 1]', -1)",
    "match_documents, far": """match_documents('[1, 1]', -1, page_after => '{"similarity": 1, "id": 300}')""",
    "match_documents, skipping": "match_documents('[1, 1]', -1, skip_count => 90)",
    "match_documents, narrowed": """match_documents('[1, 1]', -1, filter => '{"max_bytes": 500}')""",
    "search_documents": "search_documents('[1, 1]', 'lighthouse')",
    "search_documents, a rare word": "search_documents('[1, 1]', 'lighthouse harbour')",
    "recommend_documents": f"""recommend_documents({LIKES}, '[{{"id": 4}}]')""",
    "recommend_documents, best_score": f"recommend_documents({LIKES}, strategy => 'best_score')",
    "recommend_documents, folded": f"recommend_documents({LIKES}, collapse => 'duplicates')",
    "recommend_documents, diverse": f"recommend_documents({LIKES}, diversity => 0.5)",
    "similar_documents": "similar_documents('lighthouse/3.png')",
}


@pytest.fixture(scope="module")
def equals(cluster, template):
    """Equal vectors, each with 16 KiB of metadata, which Postgres keeps outside of the row."""
    with clone(cluster, template) as database:
        make_crowd(
            database,
            [[1.0, 1.0]] * ROWS,
            names=[f"{'harbour' if n % 200 == 0 else 'lighthouse'}/{n}.png" for n in range(1, ROWS + 1)],
            owners=["me" if n % 5 in (2, 3) else None for n in range(ROWS)],
        )
        with database.connect("supabase_admin") as platform:
            platform.execute("select neural_search.write_words()")
            platform.execute("set session_replication_role = 'replica'")
            platform.execute(WIDE)
            platform.execute("vacuum analyze neural_search.documents")
        yield database


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_search_reads_metadata_for_its_page_alone(equals, policy, search):
    with equals.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(f"""
            alter policy "Demo: everybody may use images" on storage.objects using ({POLICIES[policy]})
        """)
        with as_role(connection, "anon"):
            rows = connection.execute(f"select id, metadata from public.{SEARCHES[search]}").fetchall()
            ((reads,),) = connection.execute(WIDE_READS)
    assert len(rows) == PAGE
    assert reads == PAGE


@pytest.mark.parametrize("time", range(1, 7))
@pytest.mark.parametrize(
    "search",
    ["match_documents", "search_documents", "similar_documents", "recommend_documents, best_score"],
)
def test_whenever_a_policy_fails_for_once_the_page_is_whole(equals, search, time):
    """While candidates are found, when the page is made, or when its metadata is read."""
    with equals.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("create sequence public.asked")
        connection.execute("grant usage on sequence public.asked to anon")
        connection.execute(f"""
            alter policy "Demo: everybody may use images" on storage.objects using (case
              when name = 'lighthouse/2.png' then 1 / (nextval('public.asked') - {time}) is not null
              else true
            end)
        """)
        with as_role(connection, "anon"):
            rows = connection.execute(f"select content from public.{SEARCHES[search]}").fetchall()
    assert len(rows) == PAGE
    assert ("lighthouse/2.png",) in rows
