"""A project dumped by pg_dump and restored: into an empty database, or beside a new project's platform."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from support.databases import MODEL, Clone, Connection, as_role, finish, vector
from support.first_release import catalogue

from cli.installer import installation
from local.postgres import SUPERUSER, Cluster

OURS = ("--schema", "neural_search", "--schema", "public")
STORED = ("--data-only", "--table", "storage.buckets", "--table", "storage.objects")
DATA = """
select d.object_id, d.content, d.model, d.embedding::text, d.object_version, d.metadata, d.confidence::text
from (select d.*, null as confidence from neural_search.documents as d) as d order by d.content
"""
JOBS = "select object_id, model, version, state, priority, error_class from neural_search.jobs order by 1"
FOUND = "select content from public.match_documents(%s, -1, 10) order by content"


def run(cluster: Cluster, program: str, *arguments: str) -> str:
    command = [str(cluster.binaries() / "bin" / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def dump(database: Clone, tmp_path: Path) -> Callable[..., str]:
    def dump(*options: str) -> str:
        file = str(tmp_path / f"{len(list(tmp_path.iterdir()))}.dump")
        run(
            database.cluster,
            "pg_dump",
            "--format",
            "custom",
            *options,
            "--file",
            file,
            database.url(SUPERUSER),
        )
        return file

    return dump


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[Clone]:
    """A database with nothing in it, not even the platform's."""
    name = sql.Identifier("restored")
    with psycopg.connect(cluster.url(SUPERUSER), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template template0 owner postgres").format(name))
        yield Clone(cluster, "restored")
        connection.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture
def filled(db: Connection, make_object: Callable[..., object], make_document: Callable[..., object]) -> None:
    """A searchable image, one that waits, and one that failed."""
    make_document("a.png", 1.0), make_object("b.png"), make_object("c.png")
    db.execute("select public.claim_embedding_jobs(%s, 1)", [[MODEL]])
    db.execute("update neural_search.jobs set state = 'failed' where lease_id is not null")


def install(database: Clone) -> installation.Installation:
    return installation.install(
        database.url(),
        embed_url="http://127.0.0.1/embed",
        webhook_secret="open-sesame-open-sesame",
        buckets=[],
    )


def written_alike(connection: Connection) -> list[str]:
    """The catalogue; an owner's own privileges needn't be written down."""
    return [line.replace("acl {postgres=rwU/postgres} ", "acl  ") for line in catalogue(connection)]


def check(restored: Clone, db: Connection) -> None:
    """It has all that the other has, and follows Storage as that does."""
    with restored.connect() as connection:
        assert written_alike(connection) == written_alike(db)
        for rows in (DATA, JOBS):
            assert connection.execute(rows).fetchall() == db.execute(rows).fetchall()
        assert connection.execute("select * from public.reconcile_documents()").fetchone() == (0, 0, 0)
        with restored.connect("supabase_storage_admin") as storage:
            storage.execute("insert into storage.objects (bucket_id, name) values ('images', 'new.png')")
        ((object_id,),) = connection.execute("select id from storage.objects where name = 'new.png'")
        assert finish(connection, object_id, vector(1.0)) == "embedded"
        assert connection.execute("select count(*) from cron.job").fetchone() == (3,)
        with as_role(connection, "service_role"):
            assert connection.execute(FOUND, [vector(1.0)]).fetchall() == [("a.png",), ("new.png",)]


def test_a_whole_database_is_restored_and_install_finds_nothing_to_do(filled, db, dump, empty):
    run(empty.cluster, "pg_restore", "--exit-on-error", "--dbname", empty.url(SUPERUSER), dump())
    done = install(empty)
    assert done.migrations == []
    check(empty, db)


def test_beside_a_new_projects_platform_install_attaches_it_again(filled, db, dump, bare_database, tmp_path):
    """As `postgres`, no superuser there. Storage's rows come first, or reconcile would find orphans."""
    cluster, platform = bare_database.cluster, bare_database.url(SUPERUSER)
    run(cluster, "pg_restore", "--exit-on-error", "--dbname", platform, dump(*STORED))
    file, contents = dump(*OURS), tmp_path / "contents"
    listed = run(cluster, "pg_restore", "--list", file).splitlines()
    contents.write_text("\n".join(line for line in listed if "SCHEMA - public " not in line))
    run(
        cluster, "pg_restore", "--exit-on-error", "--use-list", str(contents),
        "--dbname", bare_database.url(), file,
    )  # fmt: skip
    assert install(bare_database).migrations == []
    check(bare_database, db)
