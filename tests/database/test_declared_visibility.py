"""An operator's declaration makes searches begin with the few that a caller may see."""

from __future__ import annotations

import json

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.databases import as_role, vector

ME = "00000000-0000-4000-8000-000000000001"
YOU = "00000000-0000-4000-8000-000000000002"
OWN = "owner_id = (select auth.uid())::text"


@pytest.fixture(autouse=True)
def mine_and_yours(db, make_document):
    db.execute('drop policy "Demo: everybody may use images" on storage.objects')
    allow(db, OWN)
    for owner in (ME, YOU):
        for n in range(3):
            make_document(f"{owner}/{n}.png", n + 1, 1, owner_id=owner)


def allow(db, policy, name="test"):
    db.execute(f"drop policy if exists {name} on storage.objects")
    db.execute(f"create policy {name} on storage.objects for select using ({policy})")


def declare(db, **visible_by):
    db.execute(
        "select public.index_bucket('images', visible_by => %s)", [Jsonb(visible_by) if visible_by else None]
    )


def found(db, user, **claims):
    role = "authenticated" if user else "anon"
    with as_role(db, role, {"sub": user, **claims}):
        rows = db.execute(
            "select content from public.match_documents(%s, similarity_threshold => -1)", [vector(1)]
        ).fetchall()
        db.execute("reset role")
    return sorted(row[0] for row in rows)


def conditions(db, user, bucket=None, **claims):
    with as_role(db, "authenticated", {"sub": user, **claims}):
        ((text,),) = db.execute("select neural_search.declared_conditions(%s)", [bucket])
        db.execute("reset role")
    return text


MINE = [f"{ME}/{n}.png" for n in range(3)]
YOURS = [f"{YOU}/{n}.png" for n in range(3)]


@pytest.mark.parametrize(
    "visible_by",
    [
        {"owner": "auth.uid()"},
        {"folder": "auth.jwt() ->> 'sub'"},
        {"prefix": "array[auth.uid()::text || '/0', auth.uid() || '/1', auth.uid() || '/2']"},
        {"owner": "null"},
        {"owner": "'{}'::text[]", "folder": "array['x', auth.uid()::text]"},
    ],
)
def test_a_declaration_as_the_policy_changes_no_result(db, visible_by):
    declare(db, **visible_by)
    assert found(db, ME) == MINE
    assert found(db, YOU) == YOURS
    assert found(db, None) == []


def test_a_declaration_grants_nothing(db):
    declare(db, prefix="''")
    assert found(db, ME) == MINE
    assert found(db, None) == []


def test_a_declaration_narrows_by_what_the_caller_has(db):
    declare(db, owner="auth.uid()")
    assert conditions(db, ME) == f" and (d.bucket_id = any ('{{images}}') and (d.owner_id = '{ME}'))"
    assert conditions(db, None) is None  # for such it says nothing


def test_values_are_quoted(db):
    declare(db, owner="auth.jwt() ->> 'sub'")
    assert found(db, "' or true or '") == []


def test_other_buckets_are_searched_as_ever(db, make_document):
    db.execute("insert into storage.buckets (id, name) values ('attic', 'attic') on conflict do nothing")
    db.execute("select public.index_bucket('attic')")
    allow(db, f"bucket_id = 'attic' or {OWN}")
    make_document("a.png", 1, bucket_id="attic")
    declare(db, owner="auth.uid()")
    assert found(db, ME) == [*MINE, "a.png"]
    assert conditions(db, ME, "attic") is None
    assert "owner_id" in conditions(db, ME, "images")


@pytest.mark.parametrize("users_own", [True, False])
def test_one_that_hides_what_may_be_seen_is_refused(db, users_own):
    allow(db, f"bucket_id = 'images' and ({OWN} or {str(not users_own).lower()})")
    wrong = {"folder": "'elsewhere'"} if users_own else {"owner": "coalesce(auth.uid()::text, 'nobody')"}
    with (
        pytest.raises(
            psycopg.errors.InvalidParameterValue, match=r"visible_by hides '.*' from (anon|the user)"
        ),
        db.transaction(),
    ):
        declare(db, **wrong)
    assert conditions(db, ME) is None


OPERATION = "current_setting('storage.operation', true)"


@pytest.mark.parametrize("used", [False, True])
def test_a_declaration_reads_the_settings_that_policies_read(database, db, used):
    """In a session in which they were set before, they are empty, and else null."""
    declare(db, folder=f"case when {OPERATION} = 'storage.object.get_authenticated' then auth.uid() end")
    with database.connect() as session:
        if used:
            with session.transaction():
                session.execute("select set_config('storage.operation', 'storage.object.list', true)")
        assert f"'{ME}'" in conditions(session, ME, "images")
        assert found(session, ME) == MINE


def test_one_that_hides_images_without_an_owner_is_refused(db, silent):
    """As they are when they were uploaded with the secret key, or in the dashboard."""
    silent.execute("update storage.objects set owner_id = null")
    silent.execute("update neural_search.documents set owner_id = null")
    allow(db, "true")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="visible_by hides"):
        declare(db, owner="auth.uid()")


def test_what_policies_show_later_is_told(db):
    declare(db, owner="auth.uid()")
    tell = "select caller, content from neural_search.hidden_by_declaration('images')"
    assert db.execute(tell).fetchall() == []
    allow(db, "true")
    told = db.execute(tell).fetchall()
    assert {f"the user {ME}", f"the user {YOU}"} <= {caller for caller, _ in told}
    assert all(content not in (MINE if ME in caller else YOURS) for caller, content in told)
    assert db.execute("select current_user, auth.uid()").fetchone() == ("postgres", None)


def test_the_service_may_declare_by_the_api(db):
    with as_role(db, "service_role"):
        declare(db, owner="auth.uid()")
        db.execute("reset role")
    assert "owner_id" in conditions(db, ME)
    declare(db)
    assert conditions(db, ME) is None


@pytest.mark.parametrize(
    ("visible_by", "named"),
    [
        ([], "expected an object"),
        ({}, "expected an object"),
        ({"owner": 1}, "'owner', expected a string"),
        ({"size": "1"}, "'size', expected a string for one or more of owner, folder, prefix"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(db, visible_by, named):
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        db.execute("select public.index_bucket('images', visible_by => %s)", [Jsonb(visible_by)])
    assert named in caught.value.diag.message_primary
    assert caught.value.diag.message_hint


@pytest.mark.parametrize(
    "expression", ["1 / 0", "nonsense", "(select secret from vault.nothing)", "auth.uid("]
)
def test_an_expression_that_fails_is_refused_in_our_words(db, expression):
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
        declare(db, owner=expression)
    assert "SQLSTATE" in caught.value.diag.message_primary
    assert "division" not in str(caught.value)


@pytest.mark.parametrize("bucket", ["images", "secret", "missing"])
def test_an_expression_that_fails_for_a_caller_doesnt_tell_which_buckets_there_are(db, bucket):
    """A user writes user_metadata, and so has it fail; a filter by a bucket's name would be a guess at it."""
    db.execute("insert into storage.buckets (id, name) values ('secret', 'secret')")
    expression = "(auth.jwt() -> 'user_metadata' ->> 'team')::uuid::text"
    db.execute("select public.index_bucket('secret', false, %s)", [json.dumps({"folder": expression})])
    claims = {"sub": ME, "user_metadata": {"team": "none"}}
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState), as_role(db, "authenticated", claims):
        db.execute("select neural_search.declared_conditions(%s)", [bucket])


def test_a_declaration_is_compared_with_the_policies_whatever_another_bucket_declares(db):
    db.execute("insert into storage.buckets (id, name) values ('other', 'other')")
    db.execute("select public.index_bucket('other')")
    db.execute(
        """update neural_search.buckets set visible_by = '{"owner": "1 / 0"}' where bucket_id = 'other'"""
    )
    declare(db, owner="auth.uid()")
    with pytest.raises(psycopg.Error, match="visible_by hides"):
        declare(db, owner="'nobody'")


def test_a_bucket_for_everybody_is_narrowed_by_nothing(db):
    db.execute("update storage.buckets set public = true where id = 'images'")
    db.execute("select public.index_bucket('images', true, %s)", [json.dumps({"owner": "auth.uid()"})])
    assert found(db, None) == sorted([*MINE, *YOURS])


def test_many_values_narrow_nothing(db):
    declare(
        db,
        folder="array(select n || '/' || auth.uid() from generate_series(1, 101) as n) || auth.uid()::text",
    )
    assert conditions(db, ME) is None
    assert found(db, ME) == MINE


def test_documents_arent_read_to_check_a_bucket_without_a_declaration(db):
    read = """
        select pg_stat_get_xact_numscans('neural_search.documents'::regclass) + (
          select sum(pg_stat_get_xact_numscans(i.indexrelid))::bigint from pg_index as i
          where i.indrelid = 'neural_search.documents'::regclass
        )
    """
    tell = "select caller, content from neural_search.hidden_by_declaration('images')"
    with db.transaction():
        before = db.execute(read).fetchone()
        assert db.execute(tell).fetchall() == []
        assert db.execute(read).fetchone() == before
    declare(db, owner="auth.uid()")
    with db.transaction():
        before = db.execute(read).fetchone()
        assert db.execute(tell).fetchall() == []
        assert db.execute(read).fetchone() > before


CLIMB = "case when session_user = 'postgres' then set_config('role', 'none', true) else auth.uid()::text end"


def test_no_expression_lays_down_the_callers_role_in_an_operators_session(database, db):
    with database.connect("authenticator") as api, as_role(api, "service_role"):
        declare(api, owner=CLIMB)  # as PostgREST runs it
    with pytest.raises(psycopg.Error, match=r"SQLSTATE 42501"):
        db.execute("select neural_search.hidden_by_declaration('images')")
    with pytest.raises(psycopg.Error, match=r"SQLSTATE 42501"):  # as `neural-search install` does
        db.execute("select public.index_bucket(bucket_id, false, visible_by) from neural_search.buckets")
    assert db.execute("select current_user, auth.uid()").fetchone() == ("postgres", None)


def test_an_expression_leaves_nothing_in_an_operators_session(db):
    db.execute("create table public.written (id integer); grant all on public.written to public")
    path = "set_config('search_path', 'public', false)"
    with db.transaction():
        declare(db, owner=f"case when {path} <> '' then auth.uid()::text end")
        assert db.execute("show search_path").fetchone() != ("public",)
    write = """
        create function public.write() returns text language sql volatile as
          'insert into public.written values (1); select null::text'
    """
    db.execute(write)
    with pytest.raises(psycopg.Error, match=r"SQLSTATE 25006"):
        declare(db, owner="public.write()")


@pytest.mark.parametrize(
    "expression",
    ["null) as found) as v; --", "null) as found) as v; select to_jsonb(v.found) from (select (null"],
)
def test_an_expression_is_a_single_one(db, expression):
    with pytest.raises(psycopg.Error, match=r"SQLSTATE 4"):
        declare(db, owner=expression)
