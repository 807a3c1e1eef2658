"""Roles that may create functions and operators in public have none called in place of Postgres' own.

A twin has the name of one and, as Postgres' own has not, the very types of the arguments.
"""

from __future__ import annotations

import json
import random

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb
from support.databases import as_role, clone, make_crowd

from cli.installer import releases

ROWS = 400
ME, OTHER = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
CALLERS = {"anon": {}, "authenticated": {"sub": ME}, "service_role": {}}
QUERY = json.dumps([1.0] * 8)
LIKES = Jsonb([{"id": 1}, {"embedding": [1.0, -1.0] * 4}])
UNLIKES = Jsonb([{"embedding": [-1.0, 1.0, 1.0, 1.0] * 2}])
CALLS = (
    f"select * from public.match_documents('{QUERY}', -1, 20)",
    f"select * from public.match_documents('{QUERY}', -1, 20, filter => %(few)s)",
    f"select * from public.match_documents('{QUERY}', -1, 20, filter => %(many)s)",
    f"select * from public.match_documents('{QUERY}', -1, 500)",
    f"select * from public.search_documents('{QUERY}', 'rare common', 0.5, -1, 20)",
    f"select * from public.search_documents('{QUERY}', 'common', diversity => 0.3, collapse => 'duplicates')",
    "select * from public.recommend_documents(%(likes)s, %(unlikes)s, match_count => 5, diversity => 0.3)",
    "select * from public.recommend_documents(%(likes)s, %(unlikes)s, 'best_score')",
    "select * from public.recommend_documents(%(likes)s, '[]', 'best_score', filter => %(few)s)",
    "select id, content from public.get_embeddings(array[1, 2], array['rare/7.png', 'images/common/8.png'])",
    f"select * from public.match_documents('{QUERY}', -1, filter => %(tagged)s)",
    "select * from public.list_fingerprints('images', 'common')",
    "select * from public.confirm_duplicates(array[1, 2], array[2, 1])",
    "select * from public.object_states('images', array['rare/7.png', 'common/8.png', 'no.png'])",
    "select count(*) from neural_search.documents",
    "select neural_search.visible_objects()",
)  # fmt: skip
VALUES = {
    "few": Jsonb({"prefix": "rare/", "owner": ME, "mime_type": ["image/png"], "min_bytes": 1}),
    "many": Jsonb({"bucket": "images", "uploaded_after": "2020-01-01", "min_shown": 0.1}),
    "tagged": Jsonb({"metadata": {"tag": 1}, "max_bytes": 10**9}),
    "likes": LIKES,
    "unlikes": UNLIKES,
}  # fmt: skip
SETTINGS = {
    "by hnsw": "select",
    "exactly": "update neural_search.models set search_strategy = 'exact' where name = 'tiny'",
    "by declared folder": "update neural_search.buckets set visible_by = "
    """'{"folder": "array[''common'', ''rare'']", "owner": "current_user"}'""",
    "with a policy that fails": "create policy failing on storage.objects for select "
    "using (1 / (version::integer - 9) < 0)",
}
TYPES = [
    "boolean", "smallint", "integer", "bigint", "real", "float8", "numeric", "text", "name", "uuid", "tid",
    "json", "jsonb", "text[]", "uuid[]", "bigint[]", "integer[]", "neural_search.match",
    "neural_search.match[]",
]  # fmt: skip
ANY_OF = {
    "anyelement": "{}", "anynonarray": "{}", "anycompatible": "{}", "anycompatiblenonarray": "{}",
    '"any"': "{}", "anyarray": "{}[]", "anycompatiblearray": "{}[]",
}  # fmt: skip
ANY = frozenset(ANY_OF)
RAISING = "language plpgsql as $f$ begin raise warning $m$a twin was called$m$; return null; end $f$"
# Operators by hand: five thousand commands would take a while.
OPERATORS = f"""
    do $$
    declare
      one text;
      other text;
    begin
      foreach one in array current_setting('twins.types')::text[] loop
        foreach other in array current_setting('twins.types')::text[] loop
          execute format('create function public.comparing(%s, %s) returns boolean {RAISING}', one, other);
          execute format('create function public.computing(%s, %s) returns %1$s {RAISING}', one, other);
        end loop;
      end loop;
    end $$;
    set allow_system_table_mods = on;
    insert into pg_operator
      select 4000000 + row_number() over (), o.name, 'public'::regnamespace, 10, 'b', false, false,
        p.proargtypes[0], p.proargtypes[1], p.prorettype, 0, 0, p.oid, 0, 0
      from (
        select oprname, bool_and(oprresult = 'boolean'::regtype)
        from pg_operator where oprkind = 'b' and oprnamespace = 'pg_catalog'::regnamespace group by 1
      ) as o (name, compares)
      join pg_proc as p on p.pronamespace = 'public'::regnamespace
        and p.proname = case when o.compares then 'comparing' else 'computing' end
"""
FUNCTIONS = """
    select p.proname, array(select format_type(t, null) from unnest(p.proargtypes) as t), p.provariadic > 0
    from pg_proc as p where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind in ('f', 'a')
"""


@pytest.fixture(scope="module")
def crowd(cluster, template):
    numbers = random.Random(0)
    with clone(cluster, template) as database:
        make_crowd(
            database,
            [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(ROWS)],
            names=[f"{'common' if n % 10 else 'rare'}/{n}.png" for n in range(ROWS)],
            owners=[OTHER if n % 3 else ME for n in range(ROWS)],
        )
        with database.connect("supabase_admin") as connection:
            # None that calls auth.uid(), which is the platform's and calls a twin, in Storage as well.
            for (name,) in connection.execute(
                "select policyname from pg_policies where tablename = 'objects' and schemaname = 'storage'"
            ).fetchall():
                connection.execute(SQL("drop policy {} on storage.objects").format(Identifier(name)))
            connection.execute(f"create policy own on storage.objects for select using (owner_id = '{ME}')")
            connection.execute("select neural_search.write_words()")
            connection.execute("vacuum analyze neural_search.words")
        yield database


@pytest.fixture(scope="module")
def crowd_with_twins(cluster, crowd):
    with clone(cluster, crowd.name) as database:
        with database.connect("supabase_admin") as platform:
            platform.execute("set search_path = ''")
            platform.execute("select set_config('twins.types', %s::text[]::text, false)", [TYPES])
            platform.execute(OPERATORS)
            platform.execute("; ".join(sorted(twins_of_functions(platform))))
        yield database


def twins_of_functions(connection):
    """Of those that take any type and that our sources name: for a type at a time."""
    text = releases.source_text()
    elements = [one for one in TYPES if not one.endswith("[]")]
    for name, parameters, is_variadic in connection.execute(FUNCTIONS).fetchall():
        if f"{name}(" not in text or not ANY.intersection(parameters):
            continue
        for element in elements:
            given = [ANY_OF.get(one, one).format(element) for one in parameters]
            for more in range(3 if is_variadic else 1):
                arguments = ", ".join(given + given[-1:] * more)
                yield f"create or replace function public.{name}({arguments}) returns text {RAISING}"


def answers(database, setting):
    """What each caller is answered, the messages, and our functions with the path that weren't called."""
    told = []
    with database.connect("supabase_admin") as connection, connection.transaction(force_rollback=True):
        connection.add_notice_handler(lambda notice: told.append(notice.message_primary))
        connection.execute("set local search_path = ''")
        connection.execute("set local track_functions = 'all'")
        connection.execute("set local neural_search.explain = 'on'")
        connection.execute(SETTINGS[setting])
        answered = []
        for role, claims in CALLERS.items():
            with as_role(connection, role, claims):
                for call in CALLS:
                    try:
                        with connection.transaction():
                            answered.append(connection.execute(call, VALUES).fetchall())
                    except psycopg.Error as error:
                        answered.append(str(error))
                connection.execute("reset role")
        answered.append(connection.execute("select neural_search.hidden_by_declaration('images')").fetchall())
        uncalled = connection.execute("""
            select p.proname from pg_proc as p
            where p.pronamespace = 'neural_search'::regnamespace
              and array_to_string(p.proconfig, ' ') like '%search_path=storage%'
              and pg_stat_get_xact_function_calls(p.oid) is null
        """).fetchall()
    return answered, told, uncalled


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_twin_is_called(crowd, crowd_with_twins, setting):
    answered, told, uncalled = answers(crowd_with_twins, setting)
    expected, _, _ = answers(crowd, setting)
    assert "a twin was called" not in told
    assert answered == expected
    if setting == "with a policy that fails":
        assert uncalled == []
