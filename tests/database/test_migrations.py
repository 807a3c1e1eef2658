"""Applying the migrations to a project as its non-superuser `postgres`."""

from __future__ import annotations

import re

import pytest
from psycopg.errors import Error

from cli import migrations, releases
from shared.errors import DatabaseError, DatabaseUnavailable, SettingsError

SCHEDULES = "select jobname, schedule from cron.job order by jobname"
EXPECTED_SCHEDULES = [
    ("neural-search-backgrounds", "* * * * *"),
    ("neural-search-kick", "15 seconds"),
    ("neural-search-reconcile", "*/5 * * * *"),
    ("neural-search-tidy", "17 3 * * *"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(migrations, "FOLDER", tmp_path)
    return tmp_path


def test_the_migrations_are_applied_in_order_and_recorded_as_supabase_does(bare_database):
    names = [str(migration) for migration in migrations.known()]
    assert migrations.pending(bare_database.url()) == names == sorted(names)
    assert migrations.apply(bare_database.url()) == names
    with bare_database.connect() as connection:
        rows = connection.execute(
            "select version, name, statements from supabase_migrations.schema_migrations order by version"
        ).fetchall()
    assert [f"{version}_{name}" for version, name, _ in rows] == names
    assert all(statements for _, _, statements in rows)


def test_applying_again_applies_nothing(database):
    assert migrations.apply(database.url()) == migrations.pending(database.url()) == []


def test_applying_again_makes_lost_triggers_and_schedules_anew(database, db, make_object):
    db.execute("drop trigger neural_search_objects on storage.objects")
    db.execute("select cron.unschedule('neural-search-kick')")
    migrations.apply(database.url())
    make_object()
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (1,)
    assert db.execute(SCHEDULES).fetchall() == EXPECTED_SCHEDULES


def test_applying_a_later_migration_makes_lost_triggers_anew_too(database, db, folder, make_object):
    db.execute("drop trigger neural_search_objects on storage.objects")
    (folder / "29990101000000_later.sql").write_text("select 1")
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
    guard = releases.text(releases.next_version()).split("proname in (")[1].split(")")[0]
    assert set(re.findall(r"'(\w+)'", guard)) == {name for (name,) in rows}


def test_a_migration_that_fails_is_named_and_leaves_nothing(database, folder):
    (folder / "29990101000000_good.sql").write_text("create table public.good (id int);")
    (folder / "29990102000000_bad.sql").write_text("create table public.half (id int); select 1 / 0;")
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
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "100ms")
    (folder / "29990101000000_blocked.sql").write_text("alter table public.documents add extra integer;")
    with database.connect() as blocker, blocker.transaction():
        blocker.execute("lock table public.documents")
        with pytest.raises(DatabaseUnavailable, match="29990101000000_blocked was not applied"):
            migrations.apply(database.url())


def test_forgetting_leaves_other_peoples_records(database, db):
    db.execute("insert into supabase_migrations.schema_migrations (version) values ('20200101000000')")
    migrations.forget(db)
    assert db.execute("select version from supabase_migrations.schema_migrations").fetchall() == [
        ("20200101000000",)
    ]


def test_a_checkout_without_migrations_says_so(folder):
    with pytest.raises(SettingsError, match="There are no migrations"):
        migrations.known()
