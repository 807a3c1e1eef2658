"""A project whose "Max rows" is low: its answers are cut short, and no command takes them for complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine, write_picture
from support.databases import clone
from support.http_servers import free_port
from support.running_project import running

from cli.checks.api import row_limit
from cli.client.project import Project
from cli.client.transfer import Report, Watch
from local.gateway.rest import parameters
from local.postgres import Cluster
from shared.errors import DatabaseError

NAMES = [f"{number}.png" for number in range(5)]


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "MAX_ROWS", 2)


@pytest.fixture(scope="module")
def filled(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CommandLine]:
    """A bucket of five copies of one picture."""
    folder, pictures = tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("pictures")
    for name in NAMES:
        write_picture(pictures / name)
    with clone(cluster, template) as database, running(database.url, folder) as project:
        keys = {
            "SUPABASE_SECRET_KEY": project.keys.secret,
            "SUPABASE_PUBLISHABLE_KEY": project.keys.publishable,
        }
        line = CommandLine(folder, free_port(), {"SUPABASE_URL": project.url, **keys})
        line.run("upload", pictures, "--bucket", "images")
        for name in NAMES:
            project.eventually(lambda name=name: project.state(name)[0], "searchable")
        yield line


def test_doctor_names_it(filled: CommandLine, monkeypatch: pytest.MonkeyPatch):
    with Project(filled.target) as project:
        with pytest.raises(DatabaseError, match=r"at most 2 rows: .* Set its max rows to 1000"):
            row_limit(project)
        monkeypatch.setattr(parameters, "MAX_ROWS", 1000)
        assert row_limit(project) == "answers have 1000 rows where they need them"


def test_all_copies_are_found(filled: CommandLine):
    [group] = filled.json("duplicates", "--bucket", "images")["groups"]
    assert sorted(Path(row["content"]).name for row in group) == NAMES


def test_each_upload_is_waited_for(filled: CommandLine):
    with Project(filled.target) as project:
        watch = Watch(project, "images", Report())
        for name in NAMES:
            watch.add(name)
        watch.finish(lambda settled: None)
    assert sorted(watch.report.searchable) == NAMES
