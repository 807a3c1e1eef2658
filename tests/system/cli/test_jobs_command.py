"""`jobs` and `backfill` on the embedded stack: is every image searchable, and if not, why?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from PIL import Image
from support.command_line import CommandLine, write_picture
from support.hostile_images import many_scans
from support.http_servers import free_port
from support.waiting import PATIENCE, eventually

from cli.client import backfill
from cli.commands import jobs

Database = psycopg.Connection[Any]

GOOD = ("blue.png", "green.png", "red.png")
BAD = {
    "all/empty.png": ("skipped", "EmptyImage"),
    "all/page.jpg": ("skipped", "NotAnImage"),
    "all/poison.webp": ("failed", "DecodingOutOfMemory"),
}
ENDLESS = "endless/m_scans.jpg"
NEIGHBOURS = ("a.png", "b.png", "y.png", "z.png")
LIMITS = {"MAX_DECODE_MEMORY": str(256 * 1024**2), "MAX_DECODE_SECONDS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good images, files that are none, and one that takes a decoder with it."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in GOOD:
        write_picture(folder / name, name.removesuffix(".png"))
    (folder / "empty.png").touch()
    (folder / "page.jpg").write_text("<!doctype html><title>Not found</title>")
    Image.new("RGB", (9900, 9900)).save(folder / "poison.webp", method=0)  # a few KB, 300 MB decoded
    return folder


@pytest.fixture(scope="module")
def stack(data_folder: Path, folder: Path) -> Iterator[CommandLine]:
    """With the folder's images as the decoders left them, and no reconciliation but the tests'."""
    command = CommandLine(data_folder, free_port(), LIMITS)
    command.spawn("up", "--detach")
    try:
        with connected(command) as database:
            database.execute("select cron.unschedule('neural-search-reconcile')")
            command.run("upload", folder, "--prefix", "all", "--wait", status=1)
        yield command
    finally:
        command.spawn("down")


@contextmanager
def connected(stack: CommandLine) -> Iterator[Database]:
    lines = stack.run("status", "--env").stdout.splitlines()
    variables = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    with psycopg.connect(variables["DATABASE_URL"].strip("'"), autocommit=True) as database:
        yield database


@pytest.fixture
def database(stack: CommandLine) -> Iterator[Database]:
    with connected(stack) as connection:
        yield connection


def not_searchable(database: Database) -> set[str]:
    """Objects whose present version no document has: known without any job."""
    rows = database.execute("""
        select o.name from storage.objects o
        where o.bucket_id = 'images' and not exists (
          select from neural_search.documents d where d.object_id = o.id and d.object_version = o.version)
    """)
    return {name for (name,) in rows}


def explained(stack: CommandLine, *options: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in stack.json("jobs", *options)["jobs"]}


def settled(stack: CommandLine, name: str) -> dict[str, Any]:
    """The job of this name when nothing is to be expected of it any more."""
    return eventually(
        lambda: explained(stack, "--prefix", name)[name],
        PATIENCE,
        wanted=lambda row: row["state"] in ("failed", "skipped"),
    )


@pytest.fixture
def forgotten(stack: CommandLine, database: Database, tmp_path: Path) -> Iterator[str]:
    """A prefix of three images of which the index knows nothing."""
    for name in GOOD:
        write_picture(tmp_path / name, name.removesuffix(".png"))
    stack.run("upload", tmp_path, "--prefix", "forgotten", "--upsert", "--wait")
    database.execute("delete from neural_search.documents where content like 'forgotten/%'")
    yield "forgotten/"
    database.execute("select public.reconcile_documents()")


def test_json_explains_every_image_that_is_not_searchable(stack: CommandLine, database: Database):
    rows = explained(stack)
    assert set(rows) == not_searchable(database) == set(BAD)
    assert {name: (row["state"], row["error_class"]) for name, row in rows.items()} == BAD
    assert all(row["error_message"] for row in rows.values())


def test_json_is_complete_over_many_pages(stack: CommandLine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "PAGE", 1)
    listed = stack.json("jobs")["jobs"]
    assert sorted(row["name"] for row in listed) == sorted(BAD)


def test_json_counts_what_is_searchable_and_the_causes(stack: CommandLine):
    report = stack.json("jobs")["report"]
    [backlog] = [row for row in report["backlog"] if row["bucket_id"] == "images"]
    states = ("objects", "searchable", "skipped", "failed", "due", "unrecorded")
    assert [backlog[state] for state in states] == [6, 3, 2, 1, 0, 0]
    assert {row["error_class"]: row["objects"] for row in report["failures"]} == {
        cause: 1 for _, cause in BAD.values()
    }
    assert [row["documents"] for row in report["freshness"]] == [3]


def test_people_read_first_whether_every_image_is_searchable(stack: CommandLine):
    lines = stack.run("jobs").stdout.splitlines()
    assert lines[0] == "Not searchable: 3 of 6 images (3 given up)."
    rows = [line for line in lines if line.startswith(("failed ", "skipped "))]
    assert "images/all/poison.webp" in rows[0]
    assert " ago  DecodingOutOfMemory: " in rows[0]


def test_a_filter_shows_only_what_fits(stack: CommandLine):
    assert set(explained(stack, "--state", "failed")) == {"all/poison.webp"}
    assert set(explained(stack, "--prefix", "all/p", "--bucket", "images")) == {
        "all/page.jpg",
        "all/poison.webp",
    }
    assert "no such image" in stack.run("jobs", "--prefix", "none/").stdout
    assert len(stack.json("jobs", "--limit", "2")["jobs"]) == 2
    assert "--limit shows them" in stack.run("jobs", "--limit", "2").stdout


def test_a_poisoned_image_is_named_retried_and_stays_a_dead_letter(stack: CommandLine, database: Database):
    name = "all/poison.webp"
    before = settled(stack, name)
    assert stack.json("jobs", "retry", "--prefix", name) == {"retried": 1}
    after = settled(stack, name)
    assert (after["state"], after["error_class"]) == ("failed", "DecodingOutOfMemory")
    assert after["updated_at"] > before["updated_at"] and after["attempts"] > 0
    assert not_searchable(database) == set(BAD)


def test_an_unindexed_bucket_is_named(stack: CommandLine, database: Database):
    database.execute("insert into storage.buckets (id, name) values ('drafts', 'drafts')")
    assert stack.json("jobs")["report"]["unindexed"] == ["drafts"]
    assert "Not indexed, so never searched: drafts" in stack.run("jobs").stdout


def test_an_image_that_nothing_was_recorded_of_is_explained(stack: CommandLine, forgotten: str):
    rows = explained(stack, "--state", "unrecorded").values()
    assert {(row["error_class"], row["name"].startswith(forgotten)) for row in rows} == {
        ("NotRecorded", True)
    }
    assert "neural-search backfill" in stack.run("jobs", "--state", "unrecorded").stdout


def test_a_dry_run_counts_and_changes_nothing(stack: CommandLine, database: Database, forgotten: str):
    assert stack.json("backfill", "--dry-run") == {"found": 3, "queued": 0, "dry_run": True}
    assert "3 images would be queued" in stack.run("backfill", "--dry-run").stdout
    assert len(explained(stack, "--state", "unrecorded")) == 3


def test_backfill_queues_everything_in_bounded_calls(
    stack: CommandLine, database: Database, forgotten: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backfill, "BATCH", 1)
    assert stack.json("backfill", "--prefix", f"{forgotten}red")["queued"] == 1
    assert stack.json("backfill") == {"found": 2, "queued": 2, "dry_run": False}
    assert "Nothing to queue" in stack.run("backfill").stdout
    eventually(lambda: not_searchable(database) == set(BAD), PATIENCE)


def test_backfill_of_a_bucket_that_is_not_indexed_says_what_to_do(stack: CommandLine, database: Database):
    database.execute("insert into storage.buckets (id, name) values ('idle', 'idle') on conflict do nothing")
    assert "isn't indexed" in stack.error("backfill", "--bucket", "idle")


def test_doctor_says_that_the_database_does_not_reach_the_function(stack: CommandLine, database: Database):
    [(secret, url)] = database.execute(
        "select id, decrypted_secret from vault.decrypted_secrets where name = 'neural_search_embed_url'"
    ).fetchall()
    database.execute("select vault.update_secret(%s, %s)", [secret, "http://127.0.0.1:9"])
    try:
        findings = {row["check"]: row for row in stack.json("doctor", status=1)}
    finally:
        database.execute("select vault.update_secret(%s, %s)", [secret, url])
    assert findings["kicks"]["state"] == "WRONG"
    assert "http://127.0.0.1:9/health" in findings["kicks"]["detail"]


def test_doctor_says_that_the_reconciliation_has_stopped(
    stack: CommandLine, database: Database, monkeypatch: pytest.MonkeyPatch
):
    database.execute("insert into neural_search.reconciliations (missing, stale, orphaned) values (0, 0, 0)")
    monkeypatch.setattr("cli.checks.schema.RECONCILED_WITHIN", 0.0)
    findings = {row["check"]: row for row in stack.json("doctor", status=1)}
    assert findings["reconciliation"]["state"] == "WRONG"
    assert "neural-search backfill" in findings["reconciliation"]["detail"]


def test_what_an_older_decoder_left_is_counted_and_repaired(
    stack: CommandLine, database: Database, tmp_path: Path
):
    """As after an upgrade: a wrong vector, and refusals of files that today's decoder reads or refuses."""
    for name in GOOD:
        write_picture(tmp_path / name, name.removesuffix(".png"))
    stack.run("upload", tmp_path, "--prefix", "older", "--upsert", "--wait")
    good = dict(embeddings(database, "older/%").fetchall())
    database.execute("""
        update neural_search.documents set decoder_version = 1, embedding = (
          select d.embedding from neural_search.documents d where d.content = 'older/blue.png'
        ) where content = 'older/red.png'
    """)
    database.execute("""
        with gone as (delete from neural_search.documents where content = 'older/green.png' returning *)
        insert into neural_search.jobs (object_id, model, version, state, error_class, decoder_version)
        select object_id, model, object_version, 'failed', 'BrokenImage', 1 from gone
    """)
    told = {row["check"]: row for row in stack.json("doctor", status=1)}["decoder"]
    assert told["state"] == "WRONG"
    assert (
        "refused 1 image/png (BrokenImage): `neural-search jobs retry --cause BrokenImage`" in told["detail"]
    )
    assert "wrong 1 image/png: `neural-search backfill --decoder-before 2`" in told["detail"]

    assert stack.json("jobs", "retry", "--cause", "BrokenImage") == {"retried": 1}
    assert stack.json("backfill", "--decoder-before", "2", "--dry-run")["found"] == 1
    assert stack.json("backfill", "--decoder-before", "2")["queued"] == 1
    assert "older/red.png" not in not_searchable(database)
    eventually(
        lambda: dict(embeddings(database, "older/%").fetchall()), PATIENCE, wanted=lambda now: now == good
    )
    assert database.execute("select count(*) from neural_search.outdated").fetchone() == (0,)


def embeddings(database: Database, names: str) -> psycopg.Cursor[Any]:
    return database.execute(
        "select content, embedding::text from neural_search.documents where content like %s", [names]
    )


def test_documents_without_their_words_after_an_upgrade_are_counted(stack: CommandLine, database: Database):
    unwritten = "update neural_search.text_search set missing = int8range(0, (select max(id) + 1 from {}))"
    ((count,),) = database.execute("select count(*) from neural_search.documents").fetchall()
    database.execute(unwritten.format("neural_search.documents").encode())
    try:
        told = {row["check"]: row for row in stack.json("doctor", status=1)}["words"]
        assert (told["state"], f"{count:,} documents aren't found" in told["detail"]) == ("WRONG", True)
    finally:
        database.execute("select neural_search.write_missing_words(100000)")


def test_an_image_that_its_decoder_must_be_killed_for_costs_one_attempt_and_others_nothing(
    stack: CommandLine, database: Database, tmp_path: Path
):
    for name in NEIGHBOURS:
        write_picture(tmp_path / name, "blue")
    # 40 megapixels, which keep a decoder busy for seconds.
    (tmp_path / Path(ENDLESS).name).write_bytes(many_scans(100, (8000, 5000)))
    stack.run("upload", tmp_path, "--prefix", "endless")
    first = settled(stack, ENDLESS)
    assert (first["attempts"], first["error_class"]) == (1, "DecodingTimedOut")
    assert "MAX_DECODE_SECONDS" in first["error_message"]

    assert stack.json("jobs", "retry", "--prefix", ENDLESS) == {"retried": 1}
    again = settled(stack, ENDLESS)
    assert (again["attempts"], again["error_class"]) == (1, "DecodingTimedOut")
    assert again["updated_at"] > first["updated_at"]

    assert not_searchable(database) == {*BAD, ENDLESS}
    row = {row["error_class"]: row for row in stack.json("jobs")["report"]["failures"]}["DecodingTimedOut"]
    assert (row["example_name"], row["objects"]) == (ENDLESS, 1)
