"""The functions that run as their owner tell each caller the same, of hidden images as well."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.databases import MODEL, as_role, vector

ME = "00000000-0000-4000-8000-000000000001"
CALLERS = (("anon", {}), ("authenticated", {"sub": ME}), ("service_role", {}))
ID, VERSION = "%(id)s::uuid", "%(version)s"
# Of a private bucket's image that only its owner sees, and of one that everybody may find.
ANSWERS = {
    "public.active_model": ("select * from {}()", [(MODEL, 1408)], None),
    "neural_search.searchable_model": (f"select name from {{}}('{MODEL}')", [(MODEL,)], None),
    "neural_search.is_public": (f"select {{}}({ID}, {VERSION})", [(False,)], [(True,)]),
    "neural_search.find_public": (
        "select object_id::text, version from {}(%(bucket)s, array[%(name)s])",
        [], [("%(id)s", "%(version)s")],
    ),
    "neural_search.public_buckets": ("select {}()", [(["shown"],)], None),
    "neural_search.declarations": (
        "select * from {}(null) order by 1",
        [(["images"], {"owner": "auth.uid()"}), (["shown"], None)], None,
    ),
    "neural_search.ids_with_metadata": (
        f"select cardinality({{}}('{MODEL}', %(metadata)s))", [(2,)], None,
    ),
    "neural_search.state_of": (f"select state from {{}}({ID}, {VERSION})", [("searchable",)], None),
    "neural_search.confidence_levels": (
        f"select count(*) from {{}}('{MODEL}', 'image', '{vector(1)}')", [(1,)], None,
    ),
    "neural_search.text_configuration": ("select {}()::text", [("simple",)], None),
    "neural_search.last_document_id": ("select {}()", [(10_000,)], None),
    "neural_search.lsh_bits": (f"select {{}}('{vector(1)}', '{MODEL}') is null", [(True,)], None),
}  # fmt: skip


@pytest.fixture
def images(db, make_document):
    """The hidden one and the one for everybody, as each is named."""
    db.execute("insert into storage.buckets (id, name, public) values ('shown', 'shown', true)")
    db.execute("select public.index_bucket('shown', public_search => true)")
    secret = Jsonb({"note": "SECRET"})
    ids = [
        make_document(
            "a.png", bucket=bucket, version=f"in {bucket}", user_metadata=secret, owner_id=str(uuid.uuid4())
        )
        for bucket in ("images", "shown")
    ]
    db.execute("update neural_search.buckets set visible_by = %s where bucket_id = 'images'", [
        Jsonb({"owner": "auth.uid()"})
    ])  # fmt: skip
    return [
        {"id": str(one), "version": f"in {bucket}", "bucket": bucket, "name": "a.png", "metadata": secret}
        for one, bucket in zip(ids, ("images", "shown"), strict=True)
    ]


def asked(db, function, role, claims, image):
    with as_role(db, role, claims):
        return db.execute(ANSWERS[function][0].format(function).encode(), image).fetchall()


@pytest.fixture
def without_policies(database):
    with database.connect("supabase_storage_admin") as storage:
        storage.execute('drop policy "Demo: everybody may use images" on storage.objects')


@pytest.mark.parametrize("function", ANSWERS)
def test_each_tells_every_caller_the_same_of_a_hidden_image(db, images, without_policies, function):
    hidden, shown = images
    _, of_hidden, of_shown = ANSWERS[function]
    expected = [tuple(v % shown if isinstance(v, str) else v for v in row) for row in of_shown or of_hidden]
    for role, claims in CALLERS:
        assert asked(db, function, role, claims, hidden) == of_hidden
        assert asked(db, function, role, claims, shown) == expected


@pytest.mark.parametrize("function", ["neural_search.is_public", "neural_search.state_of"])
def test_none_answers_for_an_id_without_its_version(db, images, function):
    for image in images:
        for other in ({"version": "guessed"}, {"id": str(uuid.uuid4())}):
            assert asked(db, function, "anon", {}, image | other) in ([], [(False,)])


def test_of_much_metadata_no_list_is_made(db, images, without_policies):
    db.execute("alter table neural_search.documents disable trigger user")
    db.execute(
        "insert into neural_search.documents"
        " (object_id, bucket_id, content, model, embedding, object_version, metadata)"
        " select gen_random_uuid(), d.bucket_id, d.content, d.model, d.embedding, '', d.metadata"
        " from neural_search.documents as d, generate_series(1, 2000)"
    )
    for role, claims in CALLERS:
        assert asked(db, "neural_search.ids_with_metadata", role, claims, images[0]) == [(None,)]


SHADOWS = """
    create function pg_temp.spied() returns boolean language plpgsql as $$
    begin
      perform set_config('spy.users', concat(current_setting('spy.users', true), ' ', current_user), false);
      return true;
    end
    $$;
    do $$
    declare
      name text;
    begin
      for name in
        select t.typname from pg_type as t join pg_namespace as n on n.oid = t.typnamespace
        where n.nspname = 'pg_catalog' and t.typtype = 'b' and t.typcategory <> 'A'
      loop
        execute format('create domain pg_temp.%I as pg_catalog.%1$I check (pg_temp.spied())', name);
      end loop;
    end
    $$
"""


def test_types_of_a_callers_own_run_nothing_as_the_owner(database, images):
    """The temporary schema is searched first for types, unless a search path says otherwise."""
    with database.connect() as fresh:  # functions keep the types that they found first
        fresh.execute(f"grant temporary on database {database.name} to authenticated".encode())
        fresh.execute("set role authenticated")
        fresh.execute(SHADOWS)
        for function, (query, _, _) in ANSWERS.items():
            fresh.execute(query.format(function).encode(), images[0])
        fresh.execute("insert into storage.objects (bucket_id, name) values ('images', 'b.png')")
        ((users,),) = fresh.execute("select current_setting('spy.users', true)")
    assert set((users or "").split()) <= {"authenticated"}


CALLS = "select funcname::text, calls from pg_stat_xact_user_functions where schemaname = 'neural_search'"


def test_as_much_is_done_for_a_hidden_name_as_for_none(database, images, without_policies):
    """Or time would tell which of many guessed names there are."""
    done = []
    for name in ("a.png", "none.png"):
        with database.connect("supabase_admin") as fresh, fresh.transaction():
            fresh.execute("set local track_functions = 'all'")
            fresh.execute("set local role anon")
            (row,) = fresh.execute("select * from public.object_states('images', %s)", [[name]])
            assert row[1:3] == (None, "unknown")
            fresh.execute("reset role")
            done.append(dict(fresh.execute(CALLS).fetchall()))
    assert done[0]["find_seen"] == 1 and done[0] == done[1]


def test_little_more_is_done_where_a_policy_fails_on_one_of_many_names(database, images, without_policies):
    """Or that one, though hidden, would make a call take thirty times as long."""
    names = [*map(str, range(999)), "a.png"]
    with database.connect("supabase_admin") as fresh, fresh.transaction():
        fresh.execute("create policy a on storage.objects for select using (1 / (length(name) - 5) > 0)")
        fresh.execute("set local track_functions = 'all'")
        fresh.execute("set local role anon")
        rows = fresh.execute("select * from public.object_states('images', %s)", [names]).fetchall()
        assert {row[2] for row in rows} == {"unknown"}
        fresh.execute("reset role")
        # 21 by halves; some more where a plan asks the policy before it compares names, and 1001 one by one.
        assert dict(fresh.execute(CALLS).fetchall())["find_seen"] <= 63


def test_the_trigger_is_nobodys_to_call(db):
    for role, claims in CALLERS:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), as_role(db, role, claims):
            db.execute("select neural_search.on_object_change()")


def test_every_definer_is_asked_here(db):
    rows = db.execute(
        "select format('%s.%s', pronamespace::regnamespace, proname) from pg_proc"
        " where prosecdef and pronamespace in ('public'::regnamespace, 'neural_search'::regnamespace)"
    )
    assert {name for (name,) in rows} == {*ANSWERS, "neural_search.on_object_change"}
