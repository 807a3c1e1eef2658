"""`supabase db lint` has nothing to say about our functions.

It needs the extension plpgsql_check, which the PostgreSQL of the other tests doesn't carry. Where another
installation has it, and pgvector 0.8 or newer, name its folder (the one that holds `bin`):

    apt-get install postgresql-15-plpgsql-check postgresql-15-pgvector   # the latter from apt.postgresql.org
    PLPGSQL_CHECK_POSTGRES=/usr/lib/postgresql/15 pytest tests/system/supabase_cli/test_lint.py
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from bridge import bridge
from repository import Repository
from support.databases import Clone, clone
from support.installed_postgres import installed
from support.memory_folder import quick_folder

from cli.installer import migrations
from local.postgres import SUPERUSER, Cluster, prepare_database

INSTALLATION = os.environ.get("PLPGSQL_CHECK_POSTGRES", "")
pytestmark = pytest.mark.skipif(
    not INSTALLATION, reason="PLPGSQL_CHECK_POSTGRES names no PostgreSQL with plpgsql_check."
)


@pytest.fixture
def checked() -> Iterator[Clone]:
    """A database with the extension, and with everything of ours."""
    major = installed(INSTALLATION)
    with quick_folder() as folder, Cluster(folder / "postgres", major, durable=False) as cluster:
        prepare_database(cluster, "platform")
        with psycopg.connect(cluster.url(SUPERUSER, "platform")) as platform:
            platform.execute("create extension plpgsql_check with schema extensions")
        with clone(cluster, "platform") as database:
            migrations.apply(database.url())
            yield database


def lint(database: Clone, program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "supabase").mkdir(exist_ok=True)
    (folder / "supabase" / "config.toml").write_text('project_id = "mine"\n')
    with bridge(database.cluster) as port:
        url = f"postgresql://postgres:unused@127.0.0.1:{port}/{database.name}"
        return Repository(folder, program, url).run(
            "db", "lint", "--schema", "public,neural_search", "--level", "warning", "--fail-on", "warning"
        )


def test_the_clis_lint_finds_nothing(checked: Clone, program: Path, tmp_path: Path):
    done = lint(checked, program, tmp_path)
    assert (done.returncode, "No schema errors found" in done.stderr) == (0, True), done.stdout + done.stderr

    with checked.connect() as connection:
        connection.execute(
            "create function public.wrong() returns integer language plpgsql as"
            " $$ declare unread integer; begin return 'a' || 1; end $$"
        )
    done = lint(checked, program, tmp_path)
    assert done.returncode != 0 and "public.wrong" in done.stdout


def test_trigger_functions_have_nothing_wrong_either(checked: Clone):
    """Those the Supabase CLI leaves out: they need a table to be checked."""
    with checked.connect(SUPERUSER) as connection:
        rows = connection.execute("""
            select p.proname, told from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid,
              extensions.plpgsql_check_function(p.oid, t.tgrelid) as told
            where p.pronamespace = 'neural_search'::regnamespace
        """).fetchall()
    assert rows == []
