"""`explain` on a running project: which condition keeps an image from being found?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from support.databases import clone
from support.http_servers import free_port
from support.running_project import Running, running
from typer.testing import CliRunner

from cli.__main__ import app
from local.postgres import Cluster
from shared.testing import picture

ME = "00000000-0000-4000-8000-000000000001"
COLOURS = {"red.png": "red", "crimson.png": "crimson", "blue.png": "blue"}
RAISING = """
    create policy "By folder" on storage.objects for select to authenticated
      using ((storage.foldername(name))[1]::uuid = auth.uid())
"""


@pytest.fixture(scope="module")
def project(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Three images that everybody may see, two that nobody may, and a file that is none."""
    folder: Path = tmp_path_factory.mktemp("explained")
    with clone(cluster, template) as database, running(database.url, folder) as everything:
        service = everything.service()
        service.storage.create_bucket("drafts")
        service.rpc("index_bucket", {"bucket_id": "albums"}).execute()
        for name, colour in COLOURS.items():
            service.storage.from_("images").upload(name, picture(colour), {"content-type": "image/png"})
        for bucket, name in (
            ("drafts", "red.png"),
            ("albums", f"{ME}/red.png"),
            ("albums", "broken/red.png"),
        ):
            service.storage.from_(bucket).upload(name, picture("red"), {"content-type": "image/png"})
        service.storage.from_("images").upload("page.jpg", b"<!doctype html>", {"content-type": "image/jpeg"})
        for name in COLOURS:
            everything.eventually(lambda name=name: everything.state(name)[0], "searchable")
        for name in (f"{ME}/red.png", "broken/red.png"):
            everything.eventually(lambda name=name: everything.state(name, "albums")[0], "searchable")
        everything.eventually(lambda: everything.state("page.jpg")[0], "skipped")
        yield everything


@pytest.fixture(params=["secret key", "DATABASE_URL"])
def operator(request: pytest.FixtureRequest, project: Running, tmp_path: Path) -> CommandLine:
    """The command, with one of the two ways that it may have to the facts."""
    ways = {
        "secret key": {"SUPABASE_SECRET_KEY": project.keys.secret},
        "DATABASE_URL": {"DATABASE_URL": project.database_url("postgres")},
    }
    address = {"SUPABASE_URL": project.url, "SUPABASE_PUBLISHABLE_KEY": project.keys.publishable}
    return CommandLine(tmp_path, free_port(), address | ways[request.param])


def explained(operator: CommandLine, *options: str) -> tuple[str | None, dict[str, tuple[bool | None, str]]]:
    """The condition that drops the image, and each one's finding."""
    answer: dict[str, Any] = operator.json("explain", *options)
    conditions = {one["name"]: (one["met"], one["detail"]) for one in answer["conditions"]}
    return answer["dropped_by"], conditions


def as_user(operator: CommandLine, token: str) -> CommandLine:
    return CommandLine(operator.folder, operator.port, operator.settings | {"SUPABASE_USER_TOKEN": token})


def test_an_image_that_is_found_meets_every_condition(operator: CommandLine):
    dropped_by, conditions = explained(operator, "images/crimson.png", "--text", "red")
    assert dropped_by is None
    assert conditions["visible"] == (True, "anon may see it")
    assert "efficientnet-lite0-concepts, decoder version" in conditions["document"][1]
    assert conditions["rank"] == (True, "2 of 3")
    assert conditions["similarity"][1].startswith("0.9")


def test_without_a_search_what_is_stored_and_seen_is_told(operator: CommandLine):
    dropped_by, conditions = explained(operator, "images/red.png")
    assert (dropped_by, [*conditions]) == (None, ["in Storage", "bucket", "job", "document", "visible"])


def test_what_is_not_in_storage_is_named_so(operator: CommandLine):
    assert explained(operator, "images/none.png")[0] == "in Storage"


def test_a_bucket_that_is_not_indexed_drops_its_images(operator: CommandLine):
    assert explained(operator, "drafts/red.png", "--text", "red")[0] == "bucket"


def test_a_job_is_told_with_its_state_and_cause(operator: CommandLine):
    dropped_by, conditions = explained(operator, "images/page.jpg", "--text", "red")
    assert dropped_by == "job" and conditions["job"][1].startswith("skipped (attempts so far: ")
    assert "NotAnImage: The file is an HTML or XML document" in conditions["job"][1]
    assert "similarity" not in conditions


def test_a_filter_drops_what_it_does_not_keep_and_the_rank_without_it_is_told(operator: CommandLine):
    dropped_by, conditions = explained(
        operator, "images/red.png", "--text", "red", "--filter", "prefix=blue", "--filter", "bucket=images"
    )
    assert dropped_by == "filter prefix" and conditions["filter bucket"] == (True, "images")
    assert conditions["rank"] == (None, "1 without the conditions that drop it")


def test_the_page_is_too_short_for_what_lies_deeper(operator: CommandLine):
    dropped_by, conditions = explained(operator, "images/blue.png", "--text", "red", "--limit", "2")
    assert (dropped_by, conditions["rank"]) == ("rank", (False, "3, and the page has 2"))


def test_confidence_drops_what_is_not_so_sure(operator: CommandLine, project: Running):
    project.execute("update neural_search.calibrations set same = 0.99, strong = 0.9, related = 0.5")
    asked = ("images/blue.png", "--text", "red")
    dropped_by, conditions = explained(operator, *asked, "--min-confidence", "strong")
    assert (dropped_by, conditions["min_confidence"]) == ("min_confidence", (False, "strong"))
    grey = ("images/blue.png", "--text", "lime", "--best-confidence", "strong")
    dropped_by, conditions = explained(operator, *grey)
    assert dropped_by == "best_confidence"
    assert conditions["best_confidence"][1].startswith("strong; the best result is ")


def test_by_an_image_it_is_the_same(operator: CommandLine, tmp_path: Path):
    (tmp_path / "query.png").write_bytes(picture("blue"))
    dropped_by, conditions = explained(operator, "images/blue.png", "--image", str(tmp_path / "query.png"))
    assert (dropped_by, conditions["rank"]) == (None, (True, "1 of 3"))


def test_what_the_user_may_not_see_is_hidden_from_them_alone(operator: CommandLine, project: Running):
    hidden = f"albums/{ME}/red.png"
    dropped_by, conditions = explained(operator, hidden, "--text", "red")
    assert dropped_by == "visible" and "shows it to anon" in conditions["visible"][1]
    assert "rank" not in conditions
    project.execute(RAISING)
    try:
        mine = as_user(operator, project.user(ME))
        assert explained(mine, hidden, "--text", "red")[0] is None
        dropped_by, conditions = explained(mine, "albums/broken/red.png", "--text", "red")
        assert dropped_by == "visible"
        named = "('By folder') fails for albums/broken/red.png as authenticated (22P02"
        assert (named in conditions["visible"][1]) == ("DATABASE_URL" in operator.settings)
    finally:
        project.execute('drop policy "By folder" on storage.objects')


def test_a_declaration_that_the_policies_contradict_is_named(operator: CommandLine, project: Running):
    service = project.service()
    declared = {"bucket_id": "images", "visible_by": {"owner": "auth.uid()"}}
    service.rpc("index_bucket", declared).execute()
    try:
        mine = as_user(operator, project.user(ME))
        dropped_by, conditions = explained(mine, "images/red.png", "--text", "red")
        assert dropped_by == "visible_by" and conditions["visible"][0]
        assert "the bucket declares owner: auth.uid()" in conditions["visible_by"][1]
        assert (
            explained(operator, "images/red.png", "--text", "red")[0] is None
        )  # it narrows nothing for anon
    finally:
        service.rpc("index_bucket", {"bucket_id": "images"}).execute()


def test_the_database_tells_its_way_over_a_direct_connection(operator: CommandLine):
    way = explained(operator, "images/red.png", "--text", "red")[1].get("way")
    if "DATABASE_URL" in operator.settings:
        assert way is not None and "by the way of hnsw" in way[1]
    else:
        assert way is None


def test_the_token_comes_from_standard_input_or_the_environment_and_an_old_one_is_refused(
    operator: CommandLine, project: Running
):
    asked = ["explain", "images/red.png", "--token-stdin", "--json"]
    token = project.user(ME)
    done = CliRunner().invoke(app, asked, env=operator.environment, input=f"{token}\n")
    assert done.exit_code == 0 and f"authenticated {ME} may see it" in done.stdout
    old = project.keys.mint("authenticated", {"sub": ME, "exp": 1})
    assert "has expired" in as_user(operator, old).error("explain", "images/red.png")
    assert "is no JWT" in as_user(operator, "nonsense").error("explain", "images/red.png")


def test_the_table_ends_with_what_drops_the_image(operator: CommandLine):
    lines = operator.run(
        "explain", "images/red.png", "--text", "red", "--filter", "prefix=blue"
    ).stdout.splitlines()
    assert lines[-1] == "images/red.png is dropped by: filter prefix."
    assert operator.run("explain", "images/red.png").stdout.endswith("Nothing drops images/red.png.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["images"], "Expected BUCKET/NAME"),
        ([os.fsdecode(b"images/\xff")], "Expected BUCKET/NAME"),
        (["images/red.png", "--text", "red", "--min-confidence", "sure"], "Expected same or strong"),
        (["images/red.png", "--filter", "colour=red"], "colour"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(
    operator: CommandLine, arguments: list[str], message: str
):
    assert message in operator.error("explain", *arguments)


def test_it_is_for_operators(operator: CommandLine):
    settings = dict(operator.settings)
    settings.pop("SUPABASE_SECRET_KEY", None)
    settings.pop("DATABASE_URL", None)
    command = CommandLine(operator.folder, operator.port, settings)
    assert "Neither DATABASE_URL nor SUPABASE_SECRET_KEY is set" in command.error("explain", "images/red.png")
