"""The stand-in for the platform refuses and allows as a hosted project does."""

from __future__ import annotations

import psycopg
import pytest
from support.databases import as_role
from support.waiting import PATIENCE


@pytest.fixture
def platform(bare_database):
    with bare_database.connect() as connection:
        yield connection


def test_postgres_is_no_superuser(platform):
    row = platform.execute("""
        select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls
        from pg_roles where rolname = 'postgres'
    """).fetchone()
    assert row == (False, True, True, True, True)


@pytest.mark.parametrize(
    "statement",
    [
        "alter table storage.objects add extra integer",
        "alter table storage.objects enable row level security",
        "alter table storage.objects disable trigger all",
        "create index on storage.objects (version)",
        "create table storage.mine (id integer)",
        "create function storage.mine() returns integer language sql as 'select 1'",
        "delete from storage.objects",
        "delete from storage.buckets",
        "comment on trigger update_objects_updated_at on storage.objects is 'mine'",
    ],
)
def test_postgres_may_not_change_what_belongs_to_storage(platform, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        platform.execute(statement)


def test_postgres_may_make_policies_and_triggers_on_objects(platform):
    for statement in (
        "create policy mine on storage.objects for select to anon using (true)",
        "alter policy mine on storage.objects rename to ours",
        "drop policy ours on storage.objects",
        "create function public.nothing() returns trigger language plpgsql as 'begin return null; end'",
        "create trigger mine after insert on storage.objects for each row execute function public.nothing()",
        "drop trigger mine on storage.objects",
    ):
        platform.execute(statement)
    assert platform.execute(
        "select pg_has_role('postgres', 'supabase_storage_admin', 'member')"
    ).fetchone() == (False,)


def test_callers_see_nothing_of_objects_without_a_policy(platform):
    platform.execute("insert into storage.buckets (id, name) values ('b', 'b')")
    platform.execute("insert into storage.objects (bucket_id, name) values ('b', 'a/b.tar.gz')")
    for role in ("anon", "authenticated"):
        with as_role(platform, role):
            assert platform.execute("select count(*) from storage.objects").fetchone() == (0,)
    with as_role(platform, "service_role"):
        assert platform.execute("select path_tokens from storage.objects").fetchone() == (["a", "b.tar.gz"],)


def test_claims_are_told_by_auth(platform):
    claims = {"sub": "00000000-0000-4000-8000-000000000001", "email": "me@example.org"}
    with as_role(platform, "authenticated", claims):
        row = platform.execute("select auth.uid()::text, auth.role(), auth.email()").fetchone()
    assert row == (claims["sub"], "authenticated", claims["email"])
    assert platform.execute("select auth.uid(), auth.jwt()").fetchone() == (None, None)


def test_paths_are_taken_apart(platform):
    row = platform.execute("""
        select storage.foldername(path), storage.filename(path), storage.extension(path)
        from (values ('a/b/c.tar.gz')) as paths (path)
    """).fetchone()
    assert row == (["a", "b"], "c.tar.gz", "gz")


def test_requests_wake_the_worker_at_commit_and_never_when_rolled_back(bare_database, platform):
    with bare_database.connect("supabase_admin") as worker:
        worker.execute("listen net")
        with platform.transaction(force_rollback=True):
            platform.execute("select net.http_get('http://127.0.0.1')")
        platform.execute(
            "select net.http_post('http://127.0.0.1', '{\"a\": 1}', params => '{\"q\": \"ä b\"}')"
        )
        assert len(list(worker.notifies(timeout=PATIENCE, stop_after=1))) == 1
    row = platform.execute(
        "select method, url, headers, body, timeout_milliseconds from net.http_request_queue"
    ).fetchone()
    headers = {"Content-Type": "application/json"}
    assert row == ("POST", "http://127.0.0.1?q=%C3%A4%20b", headers, b'{"a": 1}', 5000)


def test_requests_are_as_strict_as_pg_net(platform):
    with pytest.raises(psycopg.errors.NotNullViolation):
        platform.execute("select net.http_post(null)")
    with pytest.raises(psycopg.errors.RaiseException, match="Content-Type"):
        platform.execute(
            """select net.http_post('http://127.0.0.1', headers => '{"content-type": "text/json"}')"""
        )


def test_schedules_belong_to_whoever_made_them(platform):
    first = platform.execute("select cron.schedule('mine', '10 seconds', 'select 1')").fetchone()
    assert platform.execute("select cron.schedule('mine', '*/5 * * * *', 'select 2')").fetchone() == first
    row = platform.execute("select jobname, schedule, command, username from cron.job").fetchall()
    assert row == [("mine", "*/5 * * * *", "select 2", "postgres")]
    with pytest.raises(psycopg.errors.RaiseException, match="invalid schedule"):
        platform.execute("select cron.schedule('mine', '60 seconds', 'select 1')")
    assert platform.execute("select cron.unschedule('mine')").fetchone() == (True,)
    with pytest.raises(psycopg.errors.RaiseException, match="could not find valid entry"):
        platform.execute("select cron.unschedule('mine')")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into cron.job (schedule, command) values ('1 second', 'select 1')",
        "update cron.job set username = 'supabase_admin'",
        "update cron.job set command = 'select 2'",
        "delete from cron.job",
        "truncate cron.job",
        "create trigger mine before insert on cron.job execute function suppress_redundant_updates_trigger()",
    ],
)
def test_schedules_are_changed_by_functions_alone(platform, statement):
    """A job runs as its username, which a superuser's may be."""
    platform.execute("select cron.schedule('mine', '10 seconds', 'select 1')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        platform.execute(statement)


def test_no_schedule_is_anothers_who_has_more_rights(platform):
    refused = platform.execute("select cron.write_job('supabase_admin', 'x', '1 second', 'select 1')")
    assert refused.fetchone() == (None,)
    ((mine,),) = platform.execute("select cron.schedule('1 second', 'select 1')")
    assert platform.execute("select username from cron.job").fetchall() == [("postgres",)]
    assert platform.execute("select cron.unschedule(%s::bigint)", [mine]).fetchone() == (True,)


def test_secrets_are_read_by_name_and_not_by_callers(platform):
    ((secret_id,),) = platform.execute("select vault.create_secret('one', 'name')")
    platform.execute("select vault.update_secret(%s, 'two')", [secret_id])
    assert platform.execute("select name, decrypted_secret from vault.decrypted_secrets").fetchall() == [
        ("name", "two")
    ]
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_role(platform, "anon"):
        platform.execute("select from vault.decrypted_secrets")
