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


OTHER = "00000000-0000-4000-8000-000000000002"
EXAMPLE = json.dumps([{"embedding": [1.0] * 8}])
EXAMPLES = json.dumps([{"embedding": [1.0] * 8}, {"embedding": [1.0, 2.0] * 4}])
ALL_IDS = f"array(select generate_series(1, {ROWS}))"
ALL_NAMES = f"array(select n % 2 || '/' || n || '.png' from generate_series(0, {ROWS - 1}) as n)"
CALLS = {
    "match": f"select content from match_documents('{QUERY}', -1, {ROWS})",
    "filtered": f"select content from match_documents('{QUERY}', -1, filter => '{{\"max_bytes\": 250}}')",
    "search": f"select content from search_documents('{QUERY}', 'png', 0.5, -1, {ROWS})",
    "average": f"select content from recommend_documents('{EXAMPLES}', similarity_threshold => -1)",
    "best_score": f"select content from recommend_documents('{EXAMPLE}', '[]', 'best_score')",
    "diverse": f"select content from recommend_documents('{EXAMPLE}', diversity => 0.3, "
    "collapse => 'duplicates')",
    "get_embeddings by id": f"select content from get_embeddings({ALL_IDS})",
    "get_embeddings by name": f"select content from get_embeddings(names => {ALL_NAMES})",
    "list_fingerprints": "select content from list_fingerprints()",
    "confirm_duplicates": f"select first_id - 1 || '.png' from confirm_duplicates({ALL_IDS}, {ALL_IDS})",
    "object_states": f"select name from object_states('images', {ALL_NAMES}) where state <> 'unknown'",
    "visible_objects": "select ('x' || right(id::text, 8))::bit(32)::integer - 1 || '.png' "
    "from neural_search.visible_objects() as id",
}  # fmt: skip


@pytest.fixture(scope="module")
def pairs(cluster, template):
    """Objects of two users by turns, seen by what a function says of the caller against its mark."""
    with clone(cluster, template) as database:
        make_crowd(
            database,
            [[1.0 + (n % 7), 1, 1, 1, 1, 1, 1, 1] for n in range(ROWS)],
            names=[f"{n % 2}/{n}.png" for n in range(ROWS)],
            owners=[OTHER if n % 2 else ME for n in range(ROWS)],
        )
        with database.connect("supabase_admin") as platform:
            platform.execute("update neural_search.documents set content_hash = 'h' || id")
            platform.execute('drop policy "Demo: everybody may use images" on storage.objects')
            platform.execute("set search_path = public, extensions")
            platform.execute("""
                create function my_uid() returns text language sql immutable as 'select auth.uid()::text';
                create function is_mine(owner text) returns boolean language sql stable
                  as 'select owner = my_uid()';
                create policy own on storage.objects for select to authenticated using (is_mine(owner_id));
            """)
        yield database


FAILING = (
    "create policy failing on storage.objects as restrictive for select using (1 / version::integer > -1)"
)


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_a_session_answers_each_caller_by_their_own_policies(pairs, call, failing):
    """is_mine becomes a part of the plan with my_uid()'s value, and names it without a schema."""
    with pairs.connect("supabase_admin") as session, session.transaction(force_rollback=True):
        if failing:  # for one object, the first
            session.execute(FAILING)
        for user, parity in [(ME, 0)] * 7 + [(OTHER, 1)] * 2 + [(ME, 0)]:
            with as_role(session, "authenticated", {"sub": user}):
                session.execute("set local search_path = public, extensions")
                seen = [int(name.split("/")[-1][:-4]) for (name,) in session.execute(CALLS[call].encode())]
                session.execute("reset role")
            assert seen and {n % 2 for n in seen} == {parity}
