"""`install` and `uninstall` on a project that knows nothing of neural-search, but has images already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from supabase import ClientOptions, create_client
from support.command_line import CommandLine, write_picture
from support.first_release import record_0_1_0
from support.http_servers import free_port
from support.waiting import eventually

from local.stack import Stack
from shared import settings

BUCKET = "photos"
NAMES = ["blue.png", "red.png"]


@pytest.fixture(scope="module")
def project(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The platform alone, our two functions beside it, and two images in a bucket."""
    port = free_port()
    stack = Stack(settings.load({"LOCAL_DATA": str(data_folder), "LOCAL_PORT": str(port)}))
    with stack:
        stack.wait_ready()
        given = settings.environment(stack.settings)
        _store_images(stack, tmp_path_factory.mktemp("pictures"))
        with psycopg.connect(given["DATABASE_URL"]) as connection:
            connection.execute("create policy shown on storage.objects for select to anon using (true)")
        yield CommandLine(data_folder, port, {name: value for name, value in given.items() if value})


@pytest.fixture
def database(project: CommandLine) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(project.settings["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def installed(project: CommandLine) -> Iterator[dict[str, Any]]:
    """The first `install`; taken out again afterwards."""
    yield project.json("install", "--bucket", BUCKET, "--embed-url", project.settings["EMBED_URL"])
    project.run("uninstall", "--data", "--yes")


def _store_images(stack: Stack, folder: Path) -> None:
    own = stack.settings
    with httpx.Client() as http:
        client = create_client(own.supabase_url, str(own.secret_key), ClientOptions(httpx_client=http))
        client.storage.create_bucket(BUCKET)
        for name in NAMES:
            path = write_picture(folder / name, name.removesuffix(".png"))
            client.storage.from_(BUCKET).upload(name, path, {"content-type": "image/png"})


def all_searchable(database: psycopg.Connection[Any]) -> bool:
    statement = "select content from neural_search.documents order by 1"
    return eventually(lambda: [row[0] for row in database.execute(statement)] == NAMES, 60)


def remains(database: psycopg.Connection[Any]) -> list[str]:
    """The rest of ours in a catalogue."""
    recorded = database.execute("select to_regclass('supabase_migrations.schema_migrations')").fetchone()
    migrations = "select 'migration ' || version from supabase_migrations.schema_migrations"
    found = database.execute("""
        select 'trigger ' || tgname from pg_trigger
        where tgrelid = 'storage.objects'::regclass and tgname like 'neural%'
        union all select 'schema ' || nspname from pg_namespace where nspname like 'neural_search%'
        union all select 'function ' || proname from pg_proc where pronamespace = 'public'::regnamespace
        union all select 'table ' || relname from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')
        union all select 'schedule ' || jobname from cron.job
        union all select 'secret ' || name from vault.secrets
    """).fetchall()
    if recorded != (None,):
        found += database.execute(migrations).fetchall()
    return [row[0] for row in found]


def test_images_that_were_there_become_searchable(
    project: CommandLine, database: psycopg.Connection[Any], installed: dict[str, Any]
):
    assert installed["buckets"] == {BUCKET: 2} and len(installed["migrations"]) > 3
    assert database.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (
        False,
    )
    assert all_searchable(database)
    assert {row["state"] for row in project.json("doctor")} == {"OK"}


def test_installing_again_changes_nothing(project: CommandLine, installed: dict[str, Any]):
    again = project.json("install", "--bucket", BUCKET)
    assert (again["migrations"], again["buckets"]) == ([], {BUCKET: 0})
    assert set(again["vault"].values()) == {"unchanged"} and again["generated_webhook_secret"] is None


def test_install_limits_the_calls_in_flight_and_leaves_the_limit_where_it_is_not_told(
    project: CommandLine, installed: dict[str, Any], database: psycopg.Connection[Any]
):
    for arguments, expected in (((), 4), (("--calls", "6"), 6), ((), 6), (("--calls", "4"), 4)):
        project.json("install", *arguments)
        assert database.execute("select count(*) from neural_search.kicks").fetchone() == (expected,)
    assert "--calls" in project.run("install", "--calls", "1", status=2).stderr


def test_install_says_what_it_did_and_what_comes_next(project: CommandLine, installed: dict[str, Any]):
    printed = project.run("install", "--bucket", BUCKET).stdout
    assert "Bucket photos: indexed" in printed and "neural-search doctor" in printed
    assert project.settings["EMBED_WEBHOOK_SECRET"] not in printed


def test_uninstall_takes_everything_out_and_leaves_storage(
    project: CommandLine, database: psycopg.Connection[Any]
):
    project.run("install", "--bucket", BUCKET, "--embed-url", project.settings["EMBED_URL"])
    printed = project.run("uninstall", "--data", "--yes").stdout
    assert remains(database) == [] and "Trigger neural_search_objects dropped" in printed
    assert database.execute("select count(*) from storage.objects").fetchone() == (2,)
    assert "nothing of neural-search" in project.run("uninstall", "--yes").stdout


def test_uninstall_leaves_a_namesake_of_a_function_of_ours(
    project: CommandLine, database: psycopg.Connection[Any], installed: dict[str, Any]
):
    database.execute("create function public.match_documents(query text) returns text return query")
    database.execute("comment on function public.match_documents(text) is 'Mine.'")
    try:
        project.run("uninstall", "--data", "--yes")
        assert remains(database) == ["function match_documents"]
    finally:
        database.execute("drop function public.match_documents(text)")


def test_documents_outlive_an_uninstall_and_need_no_embedding_after_the_next_install(
    project: CommandLine, database: psycopg.Connection[Any], installed: dict[str, Any]
):
    assert all_searchable(database)
    project.run("uninstall", "--yes")
    assert remains(database) == ["schema neural_search_kept"]
    again = project.json("install", "--bucket", BUCKET, "--embed-url", project.settings["EMBED_URL"])
    assert again["documents_brought_back"] == 2 and again["buckets"] == {BUCKET: 0}
    assert "schema neural_search_kept" not in remains(database) and all_searchable(database)


def record_as_older_versions_did(database: psycopg.Connection[Any]) -> None:
    """Beside a row of the user's own."""
    record_0_1_0(database)
    database.execute("delete from supabase_migrations.schema_migrations where name = 'own'")
    database.execute("insert into supabase_migrations.schema_migrations values ('20260101', null, 'own')")


def test_rows_of_an_older_version_are_explained_and_go_on_request(
    project: CommandLine, database: psycopg.Connection[Any], installed: dict[str, Any]
):
    record_as_older_versions_did(database)
    try:
        findings = {row["check"]: row for row in project.json("doctor")}
        assert findings["migrations"]["state"] == "OK"
        assert "`neural-search install --release-record` deletes them" in findings["migrations"]["detail"]
        assert "13 rows of an older version" in project.run("install").stdout
        assert project.json("install", "--release-record")["released_rows"] == 13
        left = database.execute("select version from supabase_migrations.schema_migrations").fetchall()
        assert left == [("20260101",)]
        findings = {row["check"]: row for row in project.json("doctor")}
        assert findings["migrations"]["detail"] == "all applied"

        record_as_older_versions_did(database)
        assert "uninstall --release-record` deletes them" in project.run("uninstall", "--yes").stdout
        assert "13 rows deleted" in project.run("uninstall", "--yes", "--release-record").stdout
        left = database.execute("select version from supabase_migrations.schema_migrations").fetchall()
        assert left == [("20260101",)]
    finally:
        database.execute("drop schema supabase_migrations cascade")


def test_a_migration_is_written_into_a_repository_once(project: CommandLine, tmp_path: Path):
    newest = "29990101000059_own.sql"
    (tmp_path / newest).write_text("select 1")
    assert "29990101000100_neural_search.sql" in project.run("migrations", "write", str(tmp_path)).stdout
    assert "up to date" in project.run("migrations", "write", str(tmp_path)).stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [newest, "29990101000100_neural_search.sql"]
    assert "There is no folder" in project.error("migrations", "write", str(tmp_path / "none"))
    own = str(settings.CHECKOUT / "supabase" / "migrations")
    assert "neural-search's own folder" in project.error("migrations", "write", own)


def test_uninstall_asks_first(project: CommandLine, installed: dict[str, Any]):
    assert "[y/N]" in project.run("uninstall", status=1).stdout
    assert project.json("install", "--bucket", BUCKET)["migrations"] == []


def test_a_generated_webhook_secret_is_shown_once(project: CommandLine):
    rest = {name: value for name, value in project.settings.items() if name != "EMBED_WEBHOOK_SECRET"}
    without = CommandLine(project.folder, project.port, rest)
    printed = without.run("install", "--embed-url", project.settings["EMBED_URL"]).stdout
    assert "EMBED_WEBHOOK_SECRET=" in printed
    assert "EMBED_WEBHOOK_SECRET=" not in without.run("install").stdout
    without.run("uninstall", "--data", "--yes")


def test_doctor_says_what_a_bare_project_lacks(project: CommandLine):
    findings = {row["check"]: row for row in project.json("doctor", status=1)}
    wrong = {name for name, row in findings.items() if row["state"] == "WRONG"}
    assert {"migrations", "triggers on storage.objects", "Vault", "indexed buckets", "secret key"} <= wrong
    assert "neural-search install" in findings["migrations"]["detail"]
    assert findings["Storage"]["state"] == findings["database"]["state"] == "OK"


def test_install_without_a_function_address_changes_nothing(
    project: CommandLine, database: psycopg.Connection[Any]
):
    nameless = {name: value for name, value in project.settings.items() if name != "EMBED_URL"}
    assert "--embed-url or EMBED_URL" in replace(project, settings=nameless).error("install")
    assert remains(database) == []


def test_an_address_that_the_environment_names_is_taken_also_where_it_is_the_default(project: CommandLine):
    assert project.json("install")["vault"]["neural_search_embed_url"] == "created"
    project.run("uninstall", "--data", "--yes")


def test_a_missing_bucket_is_named_before_anything_is_changed(
    project: CommandLine, database: psycopg.Connection[Any]
):
    url = project.settings["EMBED_URL"]
    assert "no bucket 'none-such'" in project.error("install", "--bucket", "none-such", "--embed-url", url)
    assert remains(database) == []


def test_somebody_elses_documents_table_is_neither_used_nor_dropped(
    project: CommandLine, database: psycopg.Connection[Any]
):
    database.execute("create table public.documents (id bigint, content text)")
    try:
        line = project.error("install", "--embed-url", project.settings["EMBED_URL"])
        assert "public.documents" in line and "Rename it" in line
        project.run("uninstall", "--data", "--yes")
        assert remains(database) == ["table documents"]
    finally:
        database.execute("drop table public.documents")


def test_a_database_in_use_is_left_as_it_is(
    project: CommandLine, database: psycopg.Connection[Any], installed: dict[str, Any]
):
    before = remains(database)
    with psycopg.connect(project.settings["DATABASE_URL"]) as other:
        other.execute("lock table storage.objects in row exclusive mode")
        assert "busy" in project.error("uninstall", "--yes")
    assert remains(database) == before
