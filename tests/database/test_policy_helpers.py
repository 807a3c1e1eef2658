"""Functions that policies call find their tables, as they do when Storage asks."""

from __future__ import annotations

import json

import pytest
from support.databases import as_role, clone, make_crowd

ROWS = 300
ME = "00000000-0000-4000-8000-000000000001"
QUERY = json.dumps([1.0] * 8)


@pytest.fixture(scope="module")
def crowd(cluster, template):
    """Objects in ten teams' folders, of which the caller's team has one, by a table of the project's own."""
    with clone(cluster, template) as database:
        make_crowd(
            database,
            [[1.0 + (n % 7), 1, 1, 1, 1, 1, 1, 1] for n in range(ROWS)],
            names=[f"team{n % 10}/{n}.png" for n in range(ROWS)],
            owners=[None] * ROWS,
        )
        with database.connect("supabase_admin") as connection:
            connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
            connection.execute("set search_path = public, extensions")
            connection.execute("create table members (team text, member uuid)")
            connection.execute("insert into members values ('team3', %s)", [ME])
            connection.execute("grant select on members to authenticated")
            # As people write it: no search path of its own, and a table without its schema.
            connection.execute("""
                create function is_member(name text) returns boolean language plpgsql stable as $$
                begin
                  return exists (
                    select from members where member = auth.uid() and team = split_part(name, '/', 1)
                  );
                end
                $$
            """)
            connection.execute(
                "create policy teams on storage.objects for select to authenticated using (is_member(name))"
            )
        yield database


@pytest.fixture
def connection(crowd):
    with crowd.connect() as connection, as_role(connection, "authenticated", {"sub": ME}):
        connection.execute("set local search_path = public, extensions")  # as PostgREST has it
        yield connection


@pytest.mark.parametrize("asked", ["", ', filter => \'{"prefix": "team3/"}\'', ", skip_count => 10"])
def test_a_search_finds_what_such_a_policy_shows(connection, asked):
    rows = connection.execute(f"select content from match_documents('{QUERY}', -1, 20{asked})").fetchall()
    assert len(rows) == 20
    assert all(name.startswith("team3/") for (name,) in rows)


def test_so_do_the_table_and_what_is_asked_by_name(connection):
    assert connection.execute("select count(*) from neural_search.documents").fetchone() == (ROWS // 10,)
    states = connection.execute(
        "select name, state from object_states('images', array['team3/3.png', 'team4/4.png'])"
    ).fetchall()
    assert states == [("team3/3.png", "searchable"), ("team4/4.png", "unknown")]


def test_so_does_what_is_read_in_parts(connection):
    assert connection.execute("select count(*) from neural_search.visible_objects()").fetchone() == (
        ROWS // 10,
    )
