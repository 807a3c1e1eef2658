"""Searches use the model's index, for every kind of caller, and go on where the nearest may not be seen."""

from __future__ import annotations

import random

import pytest
from databases import as_role, clone

ROWS = 3000
ME = "00000000-0000-4000-8000-000000000001"
QUERY = "[1,1,1,1,1,1,1,1]"


@pytest.fixture(scope="module")
def crowd(cluster, template):
    """Thousands of documents of a small model, of which the caller owns one in a hundred."""
    numbers = random.Random(0)
    with clone(cluster, template) as database:
        with database.connect("supabase_admin") as platform:
            platform.execute("set session_replication_role = 'replica'")
            platform.execute("update neural_search.models set state = 'retired'")
            platform.execute(
                "insert into neural_search.models (name, dimensions, state) values ('tiny', 8, 'active')"
            )
            platform.execute(
                """
                insert into storage.objects (bucket_id, name, version, owner_id)
                select 'images', n || '.png', n, case when n %% 100 = 0 then %s end
                from generate_series(1, %s) as n
                """,
                [ME, ROWS],
            )
            objects = platform.execute("select id, name, version from storage.objects").fetchall()
            columns = "object_id, bucket_id, content, model, embedding, object_version"
            with platform.cursor().copy(f"copy public.documents ({columns}) from stdin") as copy:
                for object_id, name, version in objects:
                    embedding = str([numbers.gauss(0, 1) for _ in range(8)])
                    copy.write_row([str(object_id), "images", name, "tiny", embedding, version])
            platform.execute("""
                create index tiny_idx on public.documents
                  using hnsw ((embedding::extensions.halfvec(8)) extensions.halfvec_cosine_ops)
                  where model = 'tiny'
            """)
            platform.execute("analyze public.documents, storage.objects")
        yield database


def scans(connection):
    """How often this session has scanned the index, and read whole tables."""
    return connection.execute("""
        select pg_stat_get_xact_numscans('public.tiny_idx'::regclass),
          pg_stat_get_xact_numscans('public.documents'::regclass)
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


def test_a_caller_who_may_see_little_still_gets_as_much_as_was_asked_for(crowd):
    with crowd.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
        connection.execute("""
            create policy own on storage.objects for select to authenticated
              using (owner_id = (select auth.uid())::text)
        """)
        with as_role(connection, "authenticated", {"sub": ME}):
            found = connection.execute(
                f"select content from public.match_documents('{QUERY}', -1, 10)"
            ).fetchall()
        connection.execute("reset role")
        exact = connection.execute(f"""
            select d.content from public.documents as d join storage.objects as o on o.id = d.object_id
            where o.owner_id is not null
            order by d.embedding operator(extensions.<=>) '{QUERY}' limit 10
        """).fetchall()
    assert found == exact
