"""The docs name every setting, command, SQL function and error type, and nothing that isn't there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import typer

from cli.__main__ import app
from cli.installer import releases
from shared import errors, settings
from shared.http import handlers, server
from shared.search import filters, previews

DOCS = settings.CHECKOUT / "docs"
OPERATING = (DOCS / "operating.md").read_text()


def first_column(table: str) -> list[str]:
    """The code words in the first column of each row of a table."""
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row.split("|")[1])]


def commands(group: typer.core.TyperGroup, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        yield prefix + name
        if isinstance(command, typer.core.TyperGroup):
            yield from commands(command, f"{prefix}{name} ")


def error_types() -> Iterator[str]:
    for error in errors.kinds(errors.NeuralSearchError):
        yield f"| `{error.type}` | {error.status} | {' '.join((error.__doc__ or '').split())} |"


def test_the_docs_list_every_setting():
    documented = first_column((DOCS / "settings.md").read_text())
    assert sorted(documented) == sorted(name for names in settings.ENVIRONMENT.values() for name in names)


def test_the_docs_count_the_threads_that_the_server_has_beside_those_set():
    text = " ".join((DOCS / "settings.md").read_text().split())
    all_ = handlers.CALLERS + previews.AT_ONCE + server.ABANDONED
    assert f"{all_} threads come on top of `THREADS`: {handlers.CALLERS} for" in text
    assert f"and {previews.AT_ONCE} for previews" in text
    assert f"and {server.ABANDONED} that end a step for clients who have hung up" in text


def test_the_docs_list_every_command():
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    assert sorted(first_column((DOCS / "commands.md").read_text())) == sorted(commands(group))


def test_every_error_type_is_documented_with_its_status_and_message():
    documented = (DOCS / "errors.md").read_text()
    assert [row for row in error_types() if row not in documented] == []


def test_every_sql_function_that_callers_reach_is_documented():
    defined = set(re.findall(r"create or replace function public\.(\w+)", releases.source_text()))
    documented = (DOCS / "database.md").read_text()
    assert defined and {name for name in defined if f"`{name}(" not in documented} == set()


def test_the_docs_name_every_filter_key_and_the_fuzz_tries_it():
    query = (settings.CHECKOUT / "functions/query/README.md").read_text()
    (row,) = [line for line in query.splitlines() if line.startswith("| `filter` |")]
    table = (DOCS / "database.md").read_text().split("| key of `filter` |", 1)[1].split("\n\n", 1)[0]
    fuzz = (settings.CHECKOUT / "tests/http/trust/test_query_fuzz.py").read_text()
    assert {key for key in filters.KEYS if f"`{key}`" not in row} == set()
    assert sorted(first_column(table)) == sorted(filters.KEYS)
    assert {key for key in filters.KEYS if f'"{key}": field(' not in fuzz} == set()


def test_operating_lists_every_metric_and_no_other():
    documented = set(re.findall(r"`(neural_search_\w+?)(?:_total)?`", OPERATING))
    defined = set(
        re.findall(r'"(neural_search_\w+)"', (settings.CHECKOUT / "shared/runtime/metrics.py").read_text())
    )
    assert defined and documented == defined


def test_operating_names_causes_that_there_are():
    chapter = OPERATING.split("\n## What a failure means", 1)[1].split("\n## ", 1)[0]
    causes = {word for word in first_column(chapter) if word.isidentifier()}
    recorded_by_the_database = {"LeaseExpired", "NotRecorded"}
    assert recorded_by_the_database < causes
    assert {name for name in causes - recorded_by_the_database if not hasattr(errors, name)} == set()
