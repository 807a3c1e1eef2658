"""Alike in every command: help, and errors as one line with the remedy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from support import interpreter
from support.command_line import CommandLine, write_picture
from typer.testing import CliRunner

from cli.__main__ import app
from cli.commands import query as query_command
from shared import settings

COMMANDS = (
    "up",
    "down",
    "status",
    "doctor",
    "demo",
    "install",
    "uninstall",
    "buckets",
    "buckets list",
    "buckets index",
    "buckets unindex",
    "upload",
    "delete",
    "query",
    "jobs",
    "jobs retry",
    "evaluate",
    "backfill",
    "worker",
    "bench",
    "bench embed",
    "bench mixture",
    "bench search",
    "models",
    "models quantise",
)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for names in settings.ENVIRONMENT.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCAL_DATA", str(tmp_path / "data"))


def error(*arguments: str | Path, status: int = 1) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return str(result.stderr)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str):
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0 and "Usage:" in result.stdout


def test_help_comes_without_the_heavy_packages():
    script = (
        "import sys, cli.__main__\n"
        "print({'torch', 'openvino', 'supabase', 'psycopg', 'numpy', 'rich'} & set(sys.modules))"
    )
    assert interpreter.output(script).strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (("status",), "SUPABASE_URL"),
        (("jobs",), "SUPABASE_URL"),
        (("backfill",), "SUPABASE_URL"),
        (("query", "--text", "a castle"), "QUERY_URL"),
        (("install",), "DATABASE_URL"),
        (("uninstall", "--yes"), "DATABASE_URL"),
    ],
)
def test_a_missing_setting_is_named_in_one_line(arguments: tuple[str, ...], variable: str):
    line = error(*arguments)
    assert line.startswith(f"error: {variable} is not set.") and line.count("\n") == 1


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    assert "SUPABASE_SECRET_KEY or SUPABASE_SERVICE_ROLE_KEY or SUPABASE_SECRET_KEYS is not set" in error(
        "jobs"
    )
    assert "SUPABASE_PUBLISHABLE_KEY" in error("upload", write_picture(tmp_path / "a.png"))


def test_a_setting_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SUPABASE_URL", "my project")
    assert "SUPABASE_URL is a text of 10 characters" in error("status")


def test_a_project_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_x")
    monkeypatch.setenv("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_x")
    for arguments in (("jobs",), ("query", "--text", "a castle")):
        line = error(*arguments)
        assert line.count("\n") == 1 and "neural-search up" in line
        assert "sb_" not in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("query",),
        ("query", "--limit", "0", "--text", "x"),
        ("upload",),
        ("jobs", "--state", "lost"),
        ("bench", "embed", "--seed", "-1"),
        ("nonsense",),
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: tuple[str, ...]):
    error(*arguments, status=2)


@pytest.mark.parametrize("name", ["bucket", "prefix"])
def test_a_search_narrowed_twice_by_the_same_is_refused(name: str, monkeypatch: pytest.MonkeyPatch):
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(query_command, "search", lambda _, body: sent.append(body) or {"results": []})
    arguments = ("query", "--text", "x", f"--{name}", "a", "--filter")
    line = error(*arguments, f"{name}=b", status=2)
    assert f"--{name} and --filter {name}=" in line and "Leave one of them out" in line
    error(*arguments, "mime_type=image/jpeg", status=0)
    assert [body["filter"] for body in sent] == [{name: "a", "mime_type": ["image/jpeg"]}]


def test_words_are_searched_for_without_an_option(monkeypatch: pytest.MonkeyPatch):
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(query_command, "search", lambda _, body: sent.append(body) or {"results": []})
    for arguments in (("a castle",), ("a", "castle"), ("--text", "a castle"), ("a castle", "--text", "snow")):
        error("query", *arguments, status=0)
    assert [body["text"] for body in sent] == ["a castle"] * 3 + [["a castle", "snow"]]


def found(confidence: str = "same", *found_by: str, url: str | None = None) -> dict[str, Any]:
    """A result."""
    about = {"name": "a.jpg", "bucket": "images", "similarity": 1.0, "duplicates": [], "url": url}
    return {**about, "confidence": confidence, "found_by": found_by or ["image"]}


CLOSE, FAR, NAMED = found("related"), found("unrelated"), found("unrelated", "name")
NOTHING_CLOSE = "No close match; the nearest are:"


@pytest.mark.parametrize(
    ("arguments", "results", "lines"),
    [
        (("--text", "x"), [CLOSE, FAR], ["similarity", "1.000", "less similar", "1.000"]),
        (("--text", "x"), [FAR, FAR], [NOTHING_CLOSE, "similarity", "1.000", "1.000"]),
        (("--like", "a.jpg"), [FAR], [NOTHING_CLOSE, "similarity", "1.000"]),
        (("--text", "x"), [NAMED, FAR], ["similarity", "1.000", "less similar", "1.000"]),
        (("--text", "x"), [FAR, NAMED], ["similarity", "1.000", "1.000"]),
        (("--unlike", "a.jpg"), [CLOSE, FAR], ["similarity", "1.000", "1.000"]),
        (("--unlike", "a.jpg"), [FAR], ["similarity", "1.000"]),
    ],
)
def test_a_line_marks_what_is_unrelated_to_what_is_liked(
    arguments: tuple[str, ...],
    results: list[dict[str, Any]],
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(query_command, "search", lambda *_: {"results": results})
    printed = CliRunner().invoke(app, ["query", *arguments]).stdout.splitlines()
    assert [line.split("  ")[0] for line in map(str.strip, printed)] == lines


def test_urls_are_never_broken_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    url = "https://abc.supabase.co/storage/v1/object/sign/images/a.jpg?token=" + "x" * 300
    monkeypatch.setattr(query_command, "search", lambda *_: {"results": [found(url=url)]})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    query_command.query(texts=["x"], limit=10, with_urls=True)
    assert url in capsys.readouterr().out


def test_the_version_is_the_packages():
    shown = CliRunner().invoke(app, ["--version"]).stdout
    assert shown == f"neural-search {metadata.version('neural-search')}\n"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("quer",), "query"),
        (("jobs", "rety"), "retry"),
        (("buckets", "indx", "a"), "index"),
        (("query", "--tex", "x"), "--text"),
        (("upload", "--upser", "x"), "--upsert"),
    ],
)
def test_a_typing_mistake_is_told_what_was_probably_meant(arguments: tuple[str, ...], meant: str):
    assert meant in error(*arguments, status=2).splitlines()[-1]


@pytest.mark.parametrize(
    ("typed", "offered"), [("buc", "buckets"), ("jobs re", "retry"), ("upload --ups", "--upsert")]
)
def test_the_shell_completes_commands_and_options(typed: str, offered: str):
    asked = {
        "_NEURAL_SEARCH_COMPLETE": "complete_bash",
        "COMP_WORDS": f"neural-search {typed}",
        "COMP_CWORD": str(len(typed.split())),
    }
    done = subprocess.run(
        [sys.executable, "-m", "cli"], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    assert offered in done.stdout.split()


def test_an_unreadable_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    assert "no.png" in error("query", "--image", tmp_path / "no.png")


def test_query_and_explain_read_an_image_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pipes and devices never end; base64 and JSON of a large file take several times as much memory."""
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MAX_IMAGE_BYTES", "1000")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "large.jpg").write_bytes(bytes(1001))
    for command in (("query",), ("explain", "images/cat.jpg")):
        assert "no regular file" in error(*command, "--image", tmp_path / "pipe.jpg")
        assert "at most 1000 are accepted" in error(*command, "--image", tmp_path / "large.jpg")


def test_a_demo_folder_that_is_not_there_is_named(tmp_path: Path):
    assert "There is no folder" in error("demo", "--images", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "There are no images" in error("demo", "--images", tmp_path / "empty")


def test_a_malformed_database_url_is_refused_without_repeating_its_password(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgres//postgres:hunter2@host/postgres")
    line = error("install", "--embed-url", "https://embed.example.com")
    assert "DATABASE_URL is no address" in line and "hunter2" not in line


def test_a_database_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres:hunter2@127.0.0.1:9/postgres")
    line = error("install", "--embed-url", "https://embed.example.com")
    assert "Check DATABASE_URL" in line and "hunter2" not in line and line.count("\n") == 1


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://postgres:hunter2@db.example.com/postgres",
        "postgresql:///postgres?host=db.example.com&user=postgres&password=hunter2",
        "host=db.example.com dbname=postgres user=postgres password=hunter2",
    ],
)
def test_the_stacks_own_settings_never_get_into_another_database(
    address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:54321")
    monkeypatch.setenv("DATABASE_URL", address)
    line = error("install")
    assert "db.example.com/postgres, but" in line and "keys of the same project" in line
    assert "hunter2" not in line


def test_the_question_before_uninstalling_names_the_database_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("DATABASE_URL", "host=db.example.com dbname=postgres password=hunter2")
    assert "out of db.example.com/postgres (" in CliRunner().invoke(app, ["uninstall"]).output


def test_the_question_before_uninstalling_names_the_project_of_a_pooler_of_many(
    monkeypatch: pytest.MonkeyPatch,
):
    project = "abcdefghijklmnopqrst"
    monkeypatch.setenv(
        "DATABASE_URL", f"postgresql://postgres.{project}:hunter2@eu.pooler.example.com/postgres"
    )
    asked = CliRunner().invoke(app, ["uninstall"]).output
    assert f"out of eu.pooler.example.com/postgres of the project {project} (" in asked


@pytest.mark.parametrize(
    "address",
    ["postgresql://127.0.0.1:hunter2/postgres", "service=hunter2", "host=127.0.0.1 sslmode=hunter2"],
)
def test_a_part_of_the_databases_address_in_a_wrong_place_is_not_repeated(
    address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATABASE_URL", address)
    line = error("install", "--embed-url", "https://embed.example.com")
    assert "DATABASE_URL is no address" in line and "hunter2" not in line


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hunter2@embed.example.com",
        "https://embed.example.com/?apikey=sb_secret_hunter2",
        "https://embed.example.com/hunter2-of-the-webhook",
        "sb_secret_hunter2",
        "https://embed.example.com/\nx-webhook-secret: hunter2",
    ],
)
def test_a_function_address_that_holds_a_secret_never_gets_into_the_database(
    address: str, monkeypatch: pytest.MonkeyPatch
):
    """Every role there reads it in pg_net's queue."""
    monkeypatch.setenv("SUPABASE_URL", "https://abc.supabase.co")
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:9/postgres")
    monkeypatch.setenv("EMBED_WEBHOOK_SECRET", "hunter2-of-the-webhook")
    line = error("install", "--embed-url", address)
    assert line.startswith("error: --embed-url ") and "hunter2" not in line


def test_a_function_address_that_the_database_cannot_reach_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SUPABASE_URL", "https://abc.supabase.co")
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres:hunter2@db.example.com/postgres")
    line = error("install", "--embed-url", "http://localhost:8080")
    assert "can't reach http://localhost:8080" in line and "hunter2" not in line


def test_a_data_folder_that_cannot_be_used_is_one_line(nowhere: CommandLine):
    nowhere.folder.write_text("a file where the folder should be")
    for arguments in (("up",), ("up", "--detach"), ("doctor",)):
        done = nowhere.spawn(*arguments, status=1)
        assert re.search(
            r"data folder \S+ can't be used: Not a directory.*Set LOCAL_DATA", done.stderr + done.stdout
        )


def test_status_of_a_project_that_does_not_answer_says_nothing_about_its_buckets(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_x")
    shown = CliRunner().invoke(app, ["status"]).stdout
    assert "The project doesn't answer. Start the embedded stack" in shown and "bucket" not in shown


def test_down_without_a_stack_is_no_error(nowhere: CommandLine):
    assert "wasn't running" in nowhere.run("down").stdout


def test_an_unforeseen_error_is_one_line_unless_its_traceback_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(query_command, "search", broken)
    line = error("query", "--text", "x")
    assert line.startswith("error: two lines (RuntimeError)") and "--traceback" in line
    result = CliRunner().invoke(app, ["--traceback", "query", "--text", "x"])
    assert result.exit_code == 1 and "in broken\n" in result.stderr and "RuntimeError: two\n" in result.stderr


def test_a_foreign_error_is_told_without_our_secrets(monkeypatch: pytest.MonkeyPatch):
    key, other = "hidden-key-of-another-kind", "sb_secret_hidden"

    def broken(*_: object) -> None:
        raise RuntimeError(f"asked with {key} and {other}")

    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", key)
    monkeypatch.setattr(query_command, "search", broken)
    for options in ((), ("--traceback",)):
        told = CliRunner().invoke(app, [*options, "query", "--text", "x"]).output
        assert "asked with … and …" in told and "hidden" not in told


def test_an_interruption_ends_quietly_with_its_status(monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(query_command, "search", interrupted)
    assert error("query", "--text", "x", status=130) == ""


def test_doctor_says_what_to_do_where_nothing_is_set_up(tmp_path: Path):
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "WRONG    project: No embedded stack runs" in result.stdout
