"""A second model takes the first one's place on a running stack, while somebody never stops searching."""

from __future__ import annotations

import base64
import shlex
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from support import conversion, exported_models
from support.command_line import CommandLine, write_picture
from support.databases import DIMENSIONS, MODEL, Connection
from support.http_servers import free_port
from support.waiting import PATIENCE, eventually

from cli.models import vector_index
from shared import embedding, settings
from shared.embedding import registry
from shared.errors import RequestError

COLOURS = ("red", "green", "blue", "orange", "purple", "black")
STAYS = "shop/red.png"  # the searches look for it; nobody touches it


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As many dimensions as the default model: a query among the other's rows would raise no error."""
    from support import tiny_checkpoints  # torch and transformers: seconds

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny clip"
    tiny_checkpoints.clip(folder, DIMENSIONS)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights.\n")
    return str(folder)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that is only ONNX files, and knows colours by their names."""
    return str(exported_models.write(tmp_path_factory.mktemp("exported") / "colours"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, checkpoint: str) -> Path:
    """A cache of our own, since the checkpoint's conversion is of no use later; with the default's in it."""
    own = tmp_path_factory.mktemp("cache")
    common = settings.load({"SUPABASE_URL": "http://unused.invalid"})
    embedding.prepare(MODEL, configuration=common)
    shutil.copytree(common.embedding_cache / registry.slug(MODEL), own / registry.slug(MODEL))
    conversion.prepare(replace(common, embedding_cache=own, embedding_models=(checkpoint,)))
    return own


@pytest.fixture(scope="module")
def stack(data_folder: Path, checkpoint: str, exported: str, cache: Path) -> Iterator[CommandLine]:
    """Both functions can load all models."""
    own = {"EMBEDDING_MODELS": f"{MODEL},{checkpoint},{exported}", "EMBEDDING_CACHE": str(cache)}
    command = CommandLine(data_folder, free_port(), own)
    command.spawn("up", "--detach")
    yield command
    command.spawn("down")


@pytest.fixture(scope="module")
def given(stack: CommandLine) -> dict[str, str]:
    """The stack's addresses and keys."""
    lines = stack.run("status", "--env").stdout.splitlines()
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)


@pytest.fixture
def sql(given: dict[str, str]) -> Iterator[Connection]:
    with psycopg.connect(given["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def shop(stack: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in a folder, all of them searchable."""
    folder = tmp_path_factory.mktemp("pictures")
    for colour in COLOURS:
        write_picture(folder / f"{colour}.png", colour)
    stack.run("upload", folder, "--prefix", "shop", "--wait")
    return folder


class Searcher:
    """Asks for one image again and again, as a browser would, and keeps every answer."""

    def __init__(self, url: str, key: str, image: Path):
        self.answers: list[requests.Response] = []
        picture = base64.b64encode(image.read_bytes()).decode()
        # Which are related is another matter, and hard to say of six pictures.
        self._body = {"image": picture, "limit": 3, "best_confidence": "unrelated"}
        self._url, self._headers = url, {"apikey": key}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Searcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_answers_of(self, model: str) -> None:
        first = len(self.answers)
        eventually(lambda: any(answer.json()["model"] == model for answer in self.answers[first:]), PATIENCE)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.answers.append(requests.post(self._url, json=self._body, headers=self._headers, timeout=60))


def row(stack: CommandLine, name: str) -> dict[str, Any]:
    (found,) = [row for row in stack.json("models", "list", "--no-speed") if row["name"] == name]
    return dict(found)


def stored(sql: Connection) -> set[tuple[Any, ...]]:
    """Path and model of each document."""
    return set(sql.execute("select content, model from neural_search.documents").fetchall())


def change_the_shop(stack: CommandLine, given: dict[str, str], folder: Path) -> None:
    """An upload, an overwrite, a move and a deletion."""
    stack.run("upload", write_picture(folder / "new.png", "yellow"), "--prefix", "shop", "--wait")
    write_picture(folder / "green.png", "white")
    stack.run("upload", folder / "green.png", "--prefix", "shop", "--upsert", "--wait")
    key = given["SUPABASE_SECRET_KEY"]
    move = {"bucketId": "images", "sourceKey": "shop/blue.png", "destinationKey": "shop/moved.png"}
    storage = f"{given['SUPABASE_URL']}/storage/v1/object"
    headers = {"Authorization": f"Bearer {key}", "apikey": key}
    requests.post(f"{storage}/move", json=move, headers=headers, timeout=10).raise_for_status()
    requests.delete(f"{storage}/images/shop/black.png", headers=headers, timeout=10).raise_for_status()


def test_searches_never_stop_while_one_model_takes_anothers_place_and_back(
    stack: CommandLine, given: dict[str, str], sql: Connection, shop: Path, checkpoint: str, tmp_path: Path
):
    names = [f"shop/{colour}.png" for colour in COLOURS]
    with Searcher(given["QUERY_URL"], given["SUPABASE_PUBLISHABLE_KEY"], shop / "red.png") as searcher:
        searcher.wait_for_answers_of(MODEL)
        added = stack.json("models", "add", checkpoint)
        assert (added["state"], added["index"], added["queued"]) == ("standby", "built", len(COLOURS))
        change_the_shop(stack, given, tmp_path)
        eventually(lambda: row(stack, checkpoint)["pending"] == 0, PATIENCE)
        expected = {*names, "shop/new.png", "shop/moved.png"} - {"shop/blue.png", "shop/black.png"}
        assert stored(sql) == {(name, model) for name in expected for model in (MODEL, checkpoint)}

        assert {row["model_state"] for row in stack.json("jobs")["report"]["backlog"]} == {
            "active",
            "standby",
        }
        compared = stack.json("models", "compare", checkpoint)
        assert (compared["models"], compared["images"]) == ([MODEL, checkpoint], len(expected))
        assert {answer.json()["model"] for answer in searcher.answers} == {MODEL}

        done = stack.json("models", "activate", checkpoint)
        assert (done["active"], done["standby"], done["unaccounted"]) == (checkpoint, MODEL, 0)
        searcher.wait_for_answers_of(checkpoint)
        assert "is searched now" in stack.run("models", "activate", MODEL).stdout
        searcher.wait_for_answers_of(MODEL)
        gone = stack.json("models", "remove", checkpoint, "--yes")
        assert gone["removed"] == len(expected) and gone["index_dropped"]
        searcher.wait_for_answers_of(MODEL)

    assert {answer.status_code for answer in searcher.answers} == {200}
    bests = [answer.json()["results"][0] for answer in searcher.answers]
    # Among the other model's rows the image would not even be similar to itself.
    assert {best["name"] for best in bests} == {STAYS} and min(best["similarity"] for best in bests) > 0.99
    order = [answer.json()["model"] for answer in searcher.answers]
    turns = [model for place, model in enumerate(order) if place == 0 or order[place - 1] != model]
    assert turns == [MODEL, checkpoint, MODEL]
    assert stored(sql) == {(name, MODEL) for name in expected}
    assert row(stack, checkpoint)["state"] is None


def test_an_exported_model_is_searchable_from_upload_to_text_query(
    stack: CommandLine, shop: Path, exported: str, tmp_path: Path
):
    found = stack.json("models", "import", exported)
    assert (found["name"], found["dimensions"]) == (exported, exported_models.DIMENSIONS)
    stack.run("models", "add", exported)
    new = write_picture(tmp_path / "late.png", "red")  # while both models are kept up to date
    stack.run("upload", new, "--prefix", "late", "--wait")
    eventually(lambda: row(stack, exported)["pending"] == 0, PATIENCE)
    stack.run("models", "activate", exported)

    def best() -> dict[str, Any]:
        return dict(stack.json("query", "--text", "a Red rock", "--limit", "2"))

    eventually(lambda: best()["model"] == exported, PATIENCE)
    assert {result["name"] for result in best()["results"]} == {"late/late.png", STAYS}
    stack.run("models", "activate", MODEL)
    eventually(lambda: best()["model"] == MODEL, PATIENCE)
    stack.run("models", "remove", exported, "--yes")


def test_the_demo_runs_with_the_model_that_it_is_given_and_again_with_the_default(
    stack: CommandLine, shop: Path, exported: str
):
    printed = stack.run("demo", "--once", "--images", shop, "--model", exported).stdout
    assert "Query by image" in printed and row(stack, exported)["state"] == "active"
    stack.run("demo", "--once", "--images", shop)
    assert row(stack, MODEL)["state"] == "active"
    stack.run("models", "remove", exported, "--yes")


def test_the_list_tells_what_is_known_of_each_model(stack: CommandLine, shop: Path, checkpoint: str):
    default, tiny = row(stack, MODEL), row(stack, checkpoint)
    assert (default["state"], default["dimensions"], default["text"]) == ("active", DIMENSIONS, True)
    assert default["licence"].startswith("Apache-2.0") and default["bytes"] > 10_000_000
    assert default["documents"] == default["objects"] and default["index_valid"]
    assert (tiny["state"], tiny["dimensions"], tiny["text"]) == (None, DIMENSIONS, True)
    assert tiny["licence"] == "mit" and tiny["images_per_second"] is None
    table = stack.run("models", "list").stdout
    assert "not added" in table and MODEL in table


def test_the_list_needs_no_project(nowhere: CommandLine):
    assert nowhere.json("models", "list", "--no-speed")[0]["name"] == MODEL
    assert "No project is named" in nowhere.run("models", "list", "--no-speed").stdout


def test_an_unknown_model_isnt_added_and_the_known_ones_are_told(stack: CommandLine):
    message = stack.error("models", "add", "efficientnet-b7")
    assert "There is no such model: 'efficientnet-b7'." in message and MODEL in message


def removed(sql: Connection, name: str) -> None:
    while sql.execute("select finished from public.remove_model(%s)", [name]).fetchone() != (True,):
        pass


@pytest.fixture
def elsewhere(sql: Connection) -> Iterator[str]:
    """A model of the project that no process here can load."""
    sql.execute("select public.add_model('elsewhere', 4, 'exact')")
    yield "elsewhere"
    removed(sql, "elsewhere")


def test_a_model_that_the_query_function_cant_load_isnt_activated(stack: CommandLine, elsewhere: str):
    message = stack.error("models", "activate", elsewhere, "--force")
    assert f"has only {MODEL}" in message and "EMBEDDING_MODELS" in message
    assert row(stack, MODEL)["state"] == "active"


def test_a_model_with_images_still_to_do_isnt_activated(
    stack: CommandLine, sql: Connection, shop: Path, checkpoint: str
):
    sql.execute("select public.add_model(%s, %s, 'exact')", [checkpoint, DIMENSIONS])
    message = stack.error("models", "activate", checkpoint)
    removed(sql, checkpoint)
    assert "isn't ready" in message and "`neural-search jobs`" in message


def test_a_name_that_the_project_doesnt_have_is_refused_by_each_command(stack: CommandLine):
    for command in (["activate"], ["remove", "--yes"], ["compare"]):
        message = stack.error("models", *command, "unheard-of")
        assert f"has no model 'unheard-of', only {MODEL}" in message


def test_the_active_model_isnt_removed_and_isnt_compared_with_itself(stack: CommandLine, shop: Path):
    assert "is active" in stack.error("models", "remove", MODEL, "--yes")
    assert "with itself" in stack.error("models", "compare", MODEL)
    assert row(stack, MODEL)["documents"] > 0


def finding(stack: CommandLine, check: str) -> dict[str, str]:
    done = stack.json("doctor", status=1)
    (found,) = [found for found in done if found["check"] == check]
    return dict(found)


def test_doctor_notices_an_index_that_is_left_over(stack: CommandLine, sql: Connection, shop: Path):
    sql.execute(
        "create index documents_old_idx on neural_search.documents"
        " using hnsw ((embedding::extensions.halfvec(3)) extensions.halfvec_cosine_ops) where model = 'old'"
    )
    found = finding(stack, "models' indexes")
    sql.execute("drop index neural_search.documents_old_idx")
    assert (
        found["state"] == "WRONG"
        and "drop index concurrently neural_search.documents_old_idx" in found["detail"]
    )


def test_doctor_notices_a_model_that_nobody_loads(
    stack: CommandLine, sql: Connection, shop: Path, elsewhere: str
):
    sql.execute(
        "update neural_search.models set created_at = now() - interval '1 hour' where name = %s", [elsewhere]
    )
    found = finding(stack, "models")
    assert found["state"] == "WRONG" and f"worker --model {elsewhere}" in found["detail"]


def test_doctor_notices_what_is_left_of_a_model_whose_removal_was_interrupted(
    stack: CommandLine, sql: Connection, shop: Path, elsewhere: str
):
    sql.execute("select public.remove_model(%s)", [elsewhere])
    found = finding(stack, "models")
    assert found["state"] == "WRONG" and f"models remove {elsewhere}" in found["detail"]


def test_an_incomplete_index_is_noticed_and_made_anew(stack: CommandLine, given: dict[str, str], shop: Path):
    superuser = given["DATABASE_URL"].replace("//postgres@", "//supabase_admin@")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(
            "update pg_index set indisvalid = false"
            " where indexrelid = 'neural_search.documents_efficientnet_lite0_concepts_idx'::regclass"
        )
    found = finding(stack, "models")
    assert found["state"] == "WRONG" and f"`neural-search models add {MODEL}`" in found["detail"]
    assert stack.json("models", "add", MODEL)["index"] == "rebuilt"
    assert row(stack, MODEL)["index_valid"]


def test_an_index_is_made_after_the_rows_for_a_model_that_nobody_searches(
    stack: CommandLine, sql: Connection, shop: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch
):
    there: list[tuple[str, int]] = []  # the strategy and the documents when the index is made

    def ensure(database: Any, name: str, *rest: Any) -> str:
        now = row(stack, name)
        there.append((now["search_strategy"], now["documents"]))
        return made(database, name, *rest)

    made = vector_index.ensure
    monkeypatch.setattr(vector_index, "ensure", ensure)
    images = row(stack, MODEL)["searchable"]
    added = stack.json("models", "add", checkpoint, "--index", "after")
    assert (added["state"], added["index"], added["queued"]) == ("standby", "built", images)
    assert there == [("exact", images)]
    now = row(stack, checkpoint)
    assert (now["search_strategy"], now["index_valid"], now["pending"]) == ("hnsw", True, 0)
    stack.run("models", "remove", checkpoint, "--yes")


def test_the_active_model_keeps_its_index_while_it_has_documents(
    stack: CommandLine, sql: Connection, shop: Path
):
    refused = stack.error("models", "add", MODEL, "--index", "after")
    assert "is active and has" in refused and "--index after" in refused
    assert row(stack, MODEL)["index_valid"]
    sql.execute("delete from neural_search.documents where model = %s", [MODEL])
    assert stack.json("models", "add", MODEL, "--index", "after")["index"] == "built"
    now = row(stack, MODEL)
    assert (now["state"], now["search_strategy"], now["pending"]) == ("active", "hnsw", 0)


def test_an_index_after_the_rows_goes_on_where_it_was_interrupted(
    stack: CommandLine, sql: Connection, shop: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: Any) -> str:
        raise RequestError("interrupted")

    sql.execute("delete from neural_search.documents where model = %s", [MODEL])
    with monkeypatch.context() as patch:
        patch.setattr(vector_index, "ensure", interrupted)
        assert "interrupted" in stack.run("models", "add", MODEL, "--index", "after", status=1).stderr
    now = row(stack, MODEL)
    assert now["documents"] and (now["state"], now["search_strategy"]) == ("active", "exact")
    assert stack.json("models", "add", MODEL, "--index", "after")["index"] == "built"
    assert row(stack, MODEL)["search_strategy"] == "hnsw"


def test_the_strategy_of_the_active_model_changes_while_searches_go_on(
    stack: CommandLine, given: dict[str, str], sql: Connection, shop: Path
):
    indexes = "select indexname from pg_indexes where indexname ~ '^documents_efficientnet_lite0_concepts'"
    with Searcher(given["QUERY_URL"], given["SUPABASE_PUBLISHABLE_KEY"], shop / "red.png") as searcher:
        for strategy, index in (("lsh", "_lsh_idx"), ("exact", None), ("hnsw", "_idx")):
            assert stack.json("models", "add", MODEL, "--strategy", strategy)["state"] == "active"
            assert row(stack, MODEL)["search_strategy"] == strategy
            left = [f"documents_efficientnet_lite0_concepts{index}"] if index else []
            assert [name for (name,) in sql.execute(indexes).fetchall()] == left
            searcher.wait_for_answers_of(MODEL)
    assert {answer.status_code for answer in searcher.answers} == {200}
    bests = [answer.json()["results"][0] for answer in searcher.answers]
    assert min(best["similarity"] for best in bests) > 0.99  # other tests' red pictures are as near
