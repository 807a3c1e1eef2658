"""SUPABASE_URL of one project beside DATABASE_URL of another: refused before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.databases import MODEL, Clone, clone
from support.http_servers import asgi, free_port

from cli.checks import one_project
from cli.client.project_identity import require_one_project
from cli.installer.connection import connect
from local import keys
from local.gateway import create_app
from local.postgres import Cluster
from shared.errors import SettingsError

ANOTHER = "DATABASE_URL is the database of another project than SUPABASE_URL"
COMMANDS = [
    ("install", "--embed-url", "https://elsewhere.example.com/embed"),
    ("uninstall", "--data", "--yes"),
    ("models", "add", MODEL),
    ("models", "remove", "old", "--yes"),
    ("explain", "images/cat.jpg"),
]
# As another installation has it, made by another `install`.
INSTALLED_ELSEWHERE = "update neural_search.models set created_at = created_at - interval '1 microsecond'"
ASKED = "update neural_search.models set asked_at = now()"
# All that the commands would change.
STATE = """
    select (select jsonb_agg(to_jsonb(s) order by id) from vault.secrets as s),
      (select jsonb_agg(to_jsonb(m) order by name) from neural_search.models as m),
      (select jsonb_agg(indexrelid::text order by indexrelid) from pg_index)
"""


@pytest.fixture
def project(database: Clone, tmp_path: Path) -> Iterator[CommandLine]:
    """An installation with a second model, and DATABASE_URL of its own."""
    with database.connect() as connection:
        connection.execute("select public.add_model('old', 8, 'exact')")
    made = keys.load(tmp_path)
    app = create_app(database.url, tmp_path / "objects", made, {})
    with asgi(app) as url:
        own = {"SUPABASE_URL": url, "SUPABASE_SECRET_KEY": str(made.secret), "DATABASE_URL": database.url()}
        yield CommandLine(tmp_path / "data", free_port(), own)


@pytest.fixture
def other(cluster: Cluster, template: str) -> Iterator[Clone]:
    with clone(cluster, template) as own:
        yield own


def with_database(project: CommandLine, other: Clone) -> CommandLine:
    return replace(project, settings={**project.settings, "DATABASE_URL": other.url()})


def changed(other: Clone, statement: str) -> None:
    with other.connect() as connection:
        connection.execute(statement)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_a_database_of_another_project_is_left_as_it_is(
    project: CommandLine, other: Clone, command: tuple[str, ...]
):
    changed(other, INSTALLED_ELSEWHERE)
    with other.connect() as connection:
        before = connection.execute(STATE).fetchone()
        assert ANOTHER in with_database(project, other).error(*command)
        assert connection.execute(STATE).fetchone() == before
    assert "old" in {row["name"] for row in project.json("models", "list", "--no-speed")}


def test_a_copy_of_the_projects_own_database_is_another(project: CommandLine, database: Clone, other: Clone):
    for asking in (database, other):
        changed(asking, ASKED)
        target = with_database(project, other).target
        with connect(other.url()) as connection, pytest.raises(SettingsError, match=ANOTHER):
            require_one_project(target, connection)


def test_a_database_without_an_installation_is_another_than_an_installed_projects(
    project: CommandLine, bare_database: Clone
):
    assert ANOTHER in with_database(project, bare_database).error(
        "install", "--embed-url", "https://a.example.com"
    )


def test_a_projects_own_database_is_taken_whether_or_not_anything_is_installed(
    project: CommandLine, bare_database: Clone, tmp_path: Path
):
    with connect(project.settings["DATABASE_URL"]) as own:
        require_one_project(project.target, own)
    made = keys.load(tmp_path)
    with asgi(create_app(bare_database.url, tmp_path / "bare", made, {})) as url:
        bare = replace(with_database(project, bare_database).target, supabase_url=url)
        with connect(bare_database.url()) as own:
            require_one_project(bare, own)
        [(_, named)] = one_project.checks(bare)
        assert named["one project"]() == "nothing is installed in either, so it can't be told yet"


def test_an_installation_of_the_hour_that_comes_twice_is_known_again(project: CommandLine, database: Clone):
    changed(database, f"alter database {database.name} set timezone = 'Europe/Berlin'")
    changed(database, "update neural_search.models set created_at = '2026-10-25 00:30:00+00'")
    with connect(database.url()) as own:
        require_one_project(project.target, own)


def test_where_the_api_does_not_answer_the_error_tells_how_to_do_without(
    project: CommandLine, database: Clone
):
    silent = replace(
        project, settings={**project.settings, "SUPABASE_URL": f"http://127.0.0.1:{free_port()}"}
    )
    install = ("install", "--embed-url", "https://own.example.com/embed")
    told = silent.run(*install, status=1).stderr
    assert "can't be told" in told and "without SUPABASE_SECRET_KEY" in told
    own = {name: value for name, value in silent.settings.items() if name != "SUPABASE_SECRET_KEY"}
    replace(silent, settings=own).run(*install)


def test_an_installation_of_which_the_api_shows_nothing_is_taken_out_without_the_secret_key(
    project: CommandLine, database: Clone
):
    changed(database, "drop function public.list_models")
    assert "run this without SUPABASE_SECRET_KEY" in project.error("uninstall", "--yes")
    own = {name: value for name, value in project.settings.items() if name != "SUPABASE_SECRET_KEY"}
    assert "Documents kept" in replace(project, settings=own).run("uninstall", "--yes").stdout


def test_an_installation_is_taken_out_of_its_own_project_and_again(project: CommandLine):
    assert "Documents kept" in project.run("uninstall", "--yes").stdout
    assert "There was nothing" in project.run("uninstall", "--yes").stdout


def test_doctor_tells_it(project: CommandLine, other: Clone):
    found = {row["check"]: row for row in project.json("doctor", status=1)}
    assert found["one project"]["state"] == "OK"
    changed(other, INSTALLED_ELSEWHERE)
    found = {row["check"]: row for row in with_database(project, other).json("doctor", status=1)}
    assert found["one project"]["state"] == "WRONG" and ANOTHER in found["one project"]["detail"]
