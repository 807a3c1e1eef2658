"""Applying the migrations to a project as its non-superuser `postgres`."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from psycopg.errors import Error
from support.waiting import eventually

from cli.checks.definitions import definitions
from cli.installer import connection, migrations, releases
from cli.installer.installation import install
from cli.installer.migration_file import digest, wrap
from cli.installer.removal import uninstall
from shared import settings
from shared.errors import DatabaseError, DatabaseForbidden, DatabaseUnavailable, SettingsError

SCHEDULES = "select jobname, schedule from cron.job order by jobname"
EXPECTED_SCHEDULES = [
    ("neural-search-kick", "5 seconds"),
    ("neural-search-reconcile", "*/5 * * * *"),
    ("neural-search-tidy", "17 3 * * *"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(migrations, "FOLDER", tmp_path)
    return tmp_path


def write(folder: Path, name: str, statements: str) -> None:
    text = wrap(statements + "\n", name=name, release="9.0.0", earlier=[("20000101000000_none", "", "0")])
    (folder / f"{name}.sql").write_text(text)


def test_the_migrations_are_applied_in_order_and_recorded_in_our_own_schema(bare_database):
    names = [str(migration) for migration in migrations.known()]
    assert migrations.pending(bare_database.url()) == names == sorted(names)
    assert migrations.apply(bare_database.url()) == names
    with bare_database.connect() as connection:
        rows = connection.execute("select * from neural_search.migrations order by name").fetchall()
        theirs = connection.execute("select to_regnamespace('supabase_migrations')").fetchone()
    assert [name for name, *_ in rows] == names and theirs == (None,)
    assert [sha256 for _, sha256, *_ in rows] == [digest(one.statements) for one in migrations.known()]
    assert {release for _, _, release, *_ in rows} == {"0.1.0", releases.next_version()}
    assert all(at and by_whom.startswith("neural-search 0.") for *_, at, by_whom in rows)


LIBPQ = [
    ("PGCLIENTENCODING", "LATIN1"),
    ("PGOPTIONS", "-c quote_all_identifiers=on"),
    ("PGOPTIONS", "-c standard_conforming_strings=off"),
]


@pytest.mark.parametrize(("variable", "value"), LIBPQ)
def test_what_is_installed_and_compared_is_the_release_whatever_the_shell_sets(
    bare_database, monkeypatch, variable, value
):
    target = settings.load({"DATABASE_URL": bare_database.url()})
    monkeypatch.setenv(variable, value)
    migrations.apply(bare_database.url())
    assert "as installed" in definitions(target)
    monkeypatch.delenv(variable)
    assert "as installed" in definitions(target)


@pytest.fixture
def namesake(bare_database):
    """A project's own function, written with the same care as ours, that calls one of ours."""
    with bare_database.connect() as connection:
        connection.execute("set check_function_bodies = off")  # there is none of ours yet
        connection.execute("create table public.notes (id bigint)")
        connection.execute("""
            create function public.match_documents(query text) returns setof public.notes
            language sql set search_path = ''
            as 'select n.* from public.notes as n where n.id > neural_search.max_attempts()'
        """)
        connection.execute("comment on function public.match_documents is 'Mine.'")
        yield connection


def test_a_projects_own_function_of_the_same_name_is_refused_and_never_dropped(bare_database, namesake):
    there = "select count(*) from pg_proc where oid = to_regprocedure('public.match_documents(text)')"
    with pytest.raises(DatabaseError, match=r"match_documents\(text\) already.*Rename it"):
        migrations.apply(bare_database.url())
    assert namesake.execute("select to_regnamespace('neural_search')").fetchone() == (None,)
    assert uninstall(bare_database.url(), data=True) == [
        "There was nothing of neural-search in this database"
    ]
    assert namesake.execute(there).fetchone() == (1,)

    namesake.execute("alter function public.match_documents(text) rename to mine")
    migrations.apply(bare_database.url())
    namesake.execute("alter function public.mine(text) rename to match_documents")
    uninstall(bare_database.url(), data=True)
    assert namesake.execute(there).fetchone() == (1,)


OWN = {  # made in our schemas or on our tables by hand -> as the refusal names it
    "table neural_search.mine": "create table neural_search.mine (id bigint)",
    "view neural_search.mine": "create view neural_search.mine as select 1 as one",
    "function neural_search.mine()": "create function neural_search.mine() returns int return 1",
    "table neural_search_kept.mine": """
        create schema neural_search_kept; create table neural_search_kept.mine (id bigint)
    """,
    "text search configuration neural_search.mine": """
        create text search configuration neural_search.mine (copy = german);
        create table public.mine (
          a text, b tsvector generated always as (to_tsvector('neural_search.mine', a)) stored
        )
    """,
    "operator neural_search.===(text,text)": """
        create operator neural_search.=== (leftarg = text, rightarg = text, function = texteq)
    """,
    "type neural_search.mine": "create type neural_search.mine as enum ('one')",
    "column mine of table neural_search.buckets": "alter table neural_search.buckets add column mine text",
    "index neural_search.mine": "create index mine on neural_search.jobs (state)",
    "constraint mine on table neural_search.jobs": (
        "alter table neural_search.jobs add constraint mine check (attempts < 100)"
    ),
    "constraint mine on table neural_search.buckets": """
        create table public.mine (id text primary key);
        alter table neural_search.buckets add constraint mine foreign key (bucket_id) references public.mine
          not valid
    """,
    "rule mine on table neural_search.jobs": (
        "create rule mine as on insert to neural_search.jobs do also notify mine"
    ),
    "rule mine on view public.documents": (
        "create rule mine as on delete to public.documents do also notify mine"
    ),
    "statistics object public.mine": "create statistics public.mine on state, model from neural_search.jobs",
    "sequence neural_search.mine": "create sequence neural_search.mine owned by neural_search.kicks.slot",
    "publication of table neural_search.jobs in publication mine": (
        "create publication mine for table neural_search.jobs"
    ),
    "policy mine on table neural_search.documents": """
        create policy mine on neural_search.documents as restrictive for select using (width < 100)
    """,
    "trigger mine on table neural_search.documents": """
        create function public.tell() returns trigger language plpgsql as 'begin return new; end';
        create trigger mine after insert on neural_search.documents execute function public.tell()
    """,
    "trigger mine on view public.documents": """
        create function public.tell() returns trigger language plpgsql as 'begin return new; end';
        create trigger mine instead of insert on public.documents for each row execute function public.tell()
    """,
}


@pytest.mark.parametrize("own", OWN)
def test_an_uninstall_that_would_take_things_of_the_projects_own_along_is_refused(database, db, own):
    db.execute(OWN[own])
    with pytest.raises(DatabaseError, match=re.escape(f"would go along: {own}. Move each")):
        uninstall(database.url(), data=False)
    assert db.execute(
        "select count(*) from pg_trigger where tgname = 'neural_search_objects'"
    ).fetchone() == (1,)


@pytest.mark.parametrize(
    ("hung", "made"),
    [
        ("index neural_search.mine", "create index mine on neural_search.documents (width)"),
        (
            "constraint documents_width_check on table neural_search.documents",
            "alter table neural_search.documents add check (width < 100)",
        ),
        (
            "rule mine on table neural_search.documents",
            "create rule mine as on insert to neural_search.documents do also notify mine",
        ),
    ],
)
def test_what_hangs_on_the_documents_goes_along_with_them_alone_and_is_named_first(database, db, hung, made):
    db.execute(made)
    with pytest.raises(DatabaseError, match=re.escape(f"would go along: {hung}. Move each")):
        uninstall(database.url(), data=True)
    uninstall(database.url(), data=False)
    with pytest.raises(DatabaseError, match=re.escape(hung.replace("neural_search", "neural_search_kept"))):
        uninstall(database.url(), data=True)


def test_models_of_any_name_and_strategy_have_indexes_of_ours(database, db):
    for name, strategy in (("it's/mine", "hnsw"), ("efficientnet-lite0-concepts", "lsh")):
        ((definition,),) = db.execute("select neural_search.index_definition(%s, 1408, %s)", [name, strategy])
        ((index,),) = db.execute("select neural_search.index_name(%s, %s)", [name, strategy])
        db.execute(f'create index "{index}" on neural_search.documents {definition}')
    assert "Documents deleted" in uninstall(database.url(), data=True)


# Made in place of our view, whose name others give their documents, too.
NAMESAKES = {
    "table": "create table public.documents as select 1 as id",
    "view": "create view public.documents as select 1 as id",
    "table with our columns": "create table public.documents as table neural_search.documents",
}


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("made", NAMESAKES)
def test_documents_of_the_projects_own_outlive_an_uninstall(database, db, make_document, made, data):
    make_document("a.png")
    db.execute(f"drop view public.documents; {NAMESAKES[made]}")
    db.execute("create view public.mine as select id from public.documents")
    assert "Schema neural_search dropped" in uninstall(database.url(), data=data)
    assert db.execute("select id from public.mine").fetchall() == [(1,)]
    kept = db.execute("select to_regclass('neural_search_kept.documents') is not null").fetchone()
    assert kept == (not data,)


def test_a_view_of_the_projects_own_on_our_documents_follows_them_under_our_name_too(
    database, db, make_document
):
    make_document("a.png")
    db.execute(
        "drop view public.documents; create view public.documents as select id from neural_search.documents"
    )
    with pytest.raises(
        DatabaseError,
        match=r"along: rule _RETURN on view public\.documents on table neural_search\.documents\.",
    ):
        uninstall(database.url(), data=True)
    uninstall(database.url(), data=False)
    assert db.execute("select count(*) from public.documents").fetchone() == (1,)


@pytest.mark.parametrize("comment", ["null", """'@graphql({"name": "images"})'"""])
@pytest.mark.parametrize("data", [False, True])
def test_ours_are_told_without_their_comments_which_projects_change(database, db, data, comment):
    functions = "select oid::regprocedure::text from pg_proc where pronamespace = 'public'::regnamespace"
    db.execute(f"comment on view public.documents is {comment}")
    for (function,) in db.execute(functions).fetchall():
        db.execute(f"comment on function {function} is {comment}")
    names = releases.public_names(migrations.text())
    assert f"{len(names)} functions dropped" in uninstall(database.url(), data=data)
    assert db.execute("select to_regclass('public.documents')").fetchone() == (None,)
    assert migrations.apply(database.url())


def test_default_privileges_on_schemas_let_no_caller_create_in_ours(bare_database):
    """An overload there could be called by functions that run as their owner."""
    with bare_database.connect() as connection:
        connection.execute(
            "alter default privileges for role postgres grant all on schemas to anon, authenticated"
        )
        migrations.apply(bare_database.url())
        allowed = "select has_schema_privilege(%s, 'neural_search', %s)"
        for role in ("anon", "authenticated"):
            assert connection.execute(allowed, [role, "create"]).fetchone() == (False,)
            assert connection.execute(allowed, [role, "usage"]).fetchone() == (True,)


def test_a_trigger_of_the_projects_own_is_neither_replaced_nor_dropped(bare_database):
    with bare_database.connect() as connection:
        connection.execute("""
            create function public.tell() returns trigger language plpgsql as 'begin return new; end';
            create trigger neural_search_objects after insert on storage.objects
              execute function public.tell()
        """)
        with pytest.raises(DatabaseError, match=r"calls public\.tell\(\).*make it anew under another name"):
            install(bare_database.url(), embed_url="http://x", webhook_secret="", buckets=[])
        assert uninstall(bare_database.url(), data=True) == [
            "There was nothing of neural-search in this database"
        ]
        triggers = "select tgfoid::regproc::text from pg_trigger where tgname = 'neural_search_objects'"
        assert connection.execute(triggers).fetchall() == [("tell",)]


def test_a_schedule_of_the_projects_own_outlives_an_uninstall(database, db):
    db.execute("select cron.schedule('neural-search-nightly-report', '7 3 * * *', 'select 1')")
    uninstall(database.url(), data=False)
    assert db.execute(SCHEDULES).fetchall() == [("neural-search-nightly-report", "7 3 * * *")]


@pytest.mark.parametrize(("name", "times"), [*EXPECTED_SCHEDULES, ("neural-search-backgrounds", "* * * * *")])
def test_a_schedule_of_the_projects_own_under_a_name_of_ours_is_neither_replaced_nor_ended(
    database, db, name, times
):
    db.execute("select cron.schedule(%s, '7 3 * * *', 'select 1')", [name])
    theirs = "select schedule, command, active from cron.job where jobname = %s"
    if (name, times) in EXPECTED_SCHEDULES:
        with pytest.raises(DatabaseError, match=rf"a job {name} of your own, which runs 'select 1'"):
            install(database.url(), embed_url="http://x", webhook_secret="", buckets=[])
    else:
        install(database.url(), embed_url="http://x", webhook_secret="", buckets=[])
    assert db.execute(theirs, [name]).fetchall() == [("7 3 * * *", "select 1", True)]
    assert f"Schedule {name} ended" not in uninstall(database.url(), data=False)
    assert db.execute(SCHEDULES).fetchall() == [(name, "7 3 * * *")]


def test_a_foreign_schema_of_our_name_is_never_dropped(bare_database):
    with bare_database.connect() as connection:
        connection.execute("create schema neural_search")
        connection.execute("create table neural_search.mine as select 7 as id")
        with pytest.raises(DatabaseError, match=r"table neural_search\.mine"):
            uninstall(bare_database.url(), data=True)
        assert connection.execute("select id from neural_search.mine").fetchone() == (7,)


def test_an_uninstall_by_another_role_than_the_one_that_installed_changes_nothing(bare_database):
    """The trigger goes first: without it nothing is indexed, while the rest would stay."""
    migrations.apply(bare_database.url("supabase_admin"))
    with pytest.raises(DatabaseForbidden, match=r"by the role supabase_admin.*Connect as `supabase_admin`"):
        uninstall(bare_database.url(), data=False)
    with bare_database.connect() as connection:
        triggers = "select from pg_trigger where tgname = 'neural_search_objects'"
        assert connection.execute(triggers).rowcount == 1


def test_a_role_that_policies_hide_buckets_from_is_refused_before_anything_is_changed(bare_database):
    """Its definers would find no bucket registered, and nothing would be indexed."""
    with bare_database.connect("supabase_admin") as platform:
        platform.execute("grant usage on schema storage, vault to authenticator")
    with pytest.raises(DatabaseForbidden, match=r"only what policies show it.*Connect as `postgres`"):
        install(bare_database.url("authenticator"), embed_url="http://x", webhook_secret="", buckets=[])


def test_applying_again_applies_nothing(database):
    assert migrations.apply(database.url()) == migrations.pending(database.url()) == []


def test_applying_again_makes_lost_triggers_and_schedules_anew(database, db, make_object):
    db.execute("drop trigger neural_search_objects on storage.objects")
    db.execute("select cron.unschedule('neural-search-kick')")
    migrations.apply(database.url())
    make_object()
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (1,)
    assert db.execute(SCHEDULES).fetchall() == EXPECTED_SCHEDULES


def test_a_migration_that_was_ended_by_a_deadlock_is_applied_again(database, folder):
    """Our schedules lock our tables in an order of their own."""
    waiting = "select from pg_locks where not granted"
    write(folder, "29990101000000_later", "lock table neural_search.models, neural_search.jobs")
    with database.connect("supabase_admin") as other, ThreadPoolExecutor() as threads:
        other.execute("set deadlock_timeout = '30s'")  # so that the migration is the one to end
        with other.transaction():
            other.execute("lock table neural_search.jobs")
            applied = threads.submit(migrations.apply, database.url())
            assert eventually(lambda: other.execute(waiting).rowcount)
            other.execute("lock table neural_search.models")
        assert applied.result() == ["29990101000000_later"]


def test_applying_a_later_migration_makes_lost_triggers_anew_too(database, db, folder, make_object):
    db.execute("drop trigger neural_search_objects on storage.objects")
    write(folder, "29990101000000_later", "select 1")
    assert migrations.apply(database.url()) == ["29990101000000_later"]
    make_object()
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (1,)


def test_the_schedules_are_commands_that_work(database, db):
    assert db.execute(SCHEDULES).fetchall() == EXPECTED_SCHEDULES
    for (command,) in db.execute("select command from cron.job").fetchall():
        db.execute(command.encode())


def test_a_project_with_an_older_cron_is_kicked_every_minute(bare_database):
    with bare_database.connect("supabase_admin") as platform:
        platform.execute("alter table cron.job add check (schedule not like '%seconds')")
    migrations.apply(bare_database.url())
    with bare_database.connect() as connection:
        assert ("neural-search-kick", "* * * * *") in connection.execute(SCHEDULES).fetchall()


@pytest.mark.parametrize("schema", ["cron", "net", "vault"])
def test_a_project_without_this_part_is_still_indexed(bare_database, schema):
    with bare_database.connect("supabase_admin") as platform:
        platform.execute(f"drop schema {schema} cascade")
        platform.execute("insert into storage.buckets (id, name) values ('images', 'images')")
    migrations.apply(bare_database.url())
    with bare_database.connect() as connection:
        connection.execute("select public.index_bucket('images')")
        connection.execute("insert into storage.objects (bucket_id, name) values ('images', 'a.png')")
        assert connection.execute("select count(*) from neural_search.jobs").fetchone() == (1,)
        assert connection.execute("select public.retry_embedding_jobs()").fetchone() == (0,)


def test_a_vector_extension_in_the_wrong_place_is_refused_with_the_remedy(bare_database):
    with bare_database.connect("supabase_admin") as platform:
        platform.execute("alter extension vector set schema public")
    with pytest.raises(
        DatabaseError, match=r"20260101000000_documents was not applied.*alter extension vector"
    ):
        migrations.apply(bare_database.url())


def test_a_function_of_one_of_our_names_is_refused_with_the_remedy(bare_database):
    with bare_database.connect() as connection:
        connection.execute("create function public.match_documents(integer) returns integer return 1")
    with pytest.raises(DatabaseError, match=r"match_documents\(integer\) already.*rename to"):
        migrations.apply(bare_database.url())


def test_the_names_that_must_be_free_are_those_that_are_made(database, db):
    rows = db.execute("select proname from pg_proc where pronamespace = 'public'::regnamespace").fetchall()
    guard = releases.statements(releases.next_version()).split("proname in (")[1].split(")")[0]
    assert set(re.findall(r"'(\w+)'", guard)) == {name for (name,) in rows}


def test_a_migration_that_fails_is_named_and_leaves_nothing(database, folder):
    write(folder, "29990101000000_good", "create table public.good (id int);")
    write(folder, "29990102000000_bad", "create table public.half (id int); select 1 / 0;")
    with pytest.raises(
        DatabaseError, match=r"29990102000000_bad was not applied.*division by zero"
    ) as caught:
        migrations.apply(database.url())
    assert isinstance(caught.value.__cause__, Error)
    assert migrations.pending(database.url()) == ["29990102000000_bad"]
    with database.connect() as connection:
        rows = connection.execute(
            "select to_regclass('public.good') is null, to_regclass('public.half') is null"
        )
        assert rows.fetchone() == (False, True)


def test_a_migration_doesnt_queue_behind_a_lock_for_long(database, folder, monkeypatch):
    monkeypatch.setattr(connection, "LOCK_TIMEOUT", "100ms")
    write(folder, "29990101000000_blocked", "alter table neural_search.documents add extra integer;")
    with database.connect() as blocker, blocker.transaction():
        blocker.execute("lock table neural_search.documents")
        with pytest.raises(DatabaseUnavailable, match="29990101000000_blocked was not applied"):
            migrations.apply(database.url())


def test_a_file_that_isnt_wrapped_is_refused(database, folder):
    (folder / "29990101000000_bare.sql").write_text("select 1")
    with pytest.raises(SettingsError, match=r"isn't wrapped.*migrations generate"):
        migrations.apply(database.url())


def test_a_checkout_without_migrations_says_so(folder):
    with pytest.raises(SettingsError, match="There are no migrations"):
        migrations.known()
