"""How many images are hidden decides nothing that shows in a search's results."""

from __future__ import annotations

import json
import random

import pytest
from support.databases import as_role, clone, make_crowd

ROWS = 3000
ME = "00000000-0000-4000-8000-000000000001"
HIDDEN = (50, 300, 500, 1000)
QUERY = "[1,1,1,1,1,1,1,1]"
RARE = "select lexeme from neural_search.rarest_first(array['red'], 800) where not is_common"


@pytest.fixture(scope="module")
def crowd(cluster, template):
    """Documents called red, of which the caller sees one in a hundred."""
    numbers = random.Random(0)
    embeddings = [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(ROWS)]
    with clone(cluster, template) as database:
        make_crowd(
            database,
            embeddings,
            names=[f"red/{n}.png" for n in range(ROWS)],
            owners=[ME if n % 100 == 0 else None for n in range(ROWS)],
        )
        with database.connect() as connection:
            connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
            connection.execute("""
                create policy own on storage.objects for select to authenticated
                  using (owner_id = auth.uid()::text)
            """)
            marks = ", ".join(f"'{most}', case when id <= {most} then true end" for most in HIDDEN)
            connection.execute(f"""
                update neural_search.documents set metadata = jsonb_strip_nulls(jsonb_build_object({marks}))
            """)
            connection.execute("vacuum full analyze neural_search.documents")
            connection.execute("select neural_search.write_words()")
            connection.execute("vacuum analyze neural_search.words")
        yield database


@pytest.fixture
def ways(crowd):
    """The ways by which a call finds its results, as the caller."""
    with crowd.connect() as connection:
        told = []
        connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))

        def call(statement, *values):
            told.clear()
            with as_role(connection, "authenticated", {"sub": ME}):
                connection.execute("set local neural_search.explain = 'on'")
                connection.execute("set local client_min_messages = 'log'")
                connection.execute(statement, values)
            return [line.split("way of ")[1].split(":")[0] for line in told if "looked for" in line]

        yield call


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("key", ["max_bytes", "metadata"])
def test_a_filter_of_which_the_caller_sees_few_is_compared_exactly_however_many_it_hides(ways, hidden, key):
    """The index would leave out some: a tenant could tell how many others' images have a metadata value."""
    narrow = {"max_bytes": hidden} if key == "max_bytes" else {"metadata": {str(hidden): True}}
    call = "select from public.match_documents(%s, -1, 10, filter => %s)"
    assert ways(call, QUERY, json.dumps(narrow)) == ["documents"]


def test_examples_are_compared_with_the_few_that_the_caller_sees_however_many_are_hidden(ways):
    call = """
        select from public.recommend_documents(
          jsonb_build_array(jsonb_build_object('embedding', %s::jsonb)), strategy => 'best_score',
          filter => '{"max_bytes": 400}'
        )
    """
    assert "hnsw" not in ways(call, QUERY)


def test_a_word_is_rare_where_the_caller_sees_few_documents_with_it(crowd):
    with crowd.connect() as connection:
        with as_role(connection, "authenticated", {"sub": ME}):
            connection.execute("select neural_search.set_for_search()")
            assert connection.execute(RARE).fetchall() == [("red",)]
        with as_role(connection, "service_role"):
            assert connection.execute(RARE).fetchall() == []


def test_a_search_goes_past_hundreds_of_images_that_a_policy_fails_on_without_reading_all(crowd):
    """One tenant's copies of a popular picture would end everybody's searches near it."""
    with crowd.connect("supabase_admin") as connection, connection.transaction(force_rollback=True):
        rows = connection.execute(
            """
            select object_id from neural_search.documents
            order by embedding operator(extensions.<=>) %s limit 410
            """,
            [QUERY],
        )
        ids = [one for (one,) in rows]
        failing, seen = ids[:400], ids[400:]
        connection.execute("create table public.failing (id uuid primary key)")
        connection.execute("insert into public.failing select unnest(%s::uuid[])", [failing])
        connection.execute("grant select on public.failing to anon")
        connection.execute("""
            create policy failing on storage.objects for select to anon
              using (case when id in (select f.id from public.failing as f) then name::uuid end is null)
        """)
        told = []
        connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        with as_role(connection, "anon"):
            connection.execute("set local neural_search.explain = 'on'")
            connection.execute("set local client_min_messages = 'log'")
            found = connection.execute("select object_id from public.match_documents(%s, -1, 10)", [QUERY])
            assert [one for (one,) in found] == seen
            connection.execute("reset role")
    assert [line for line in told if "way of visible" in line] == []
    assert len([line for line in told if "way of hnsw" in line]) == 2
