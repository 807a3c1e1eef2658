"""Functions and schema of two releases side by side: they work, or name the remedy and lose nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from support.databases import Clone, clone
from support.first_release import ACTIVE, install_0_1_0
from support.running_project import DIMENSIONS, MODEL, Running, running

from cli.installer import migrations
from local.postgres import Cluster
from shared.runtime.model_registry import ModelRegistry
from shared.testing import ColourEmbedder, picture

# The fields that the functions of 0.1.0 read.
JOB = {
    "object_id", "model", "version", "bucket_id", "name", "size", "mime_type", "etag", "attempt",
    "waited_seconds", "lease_id", "known_hashes",
}  # fmt: skip
MATCH = {"id", "bucket_id", "object_id", "content", "similarity", "metadata", "confidence"}
CLAIM_ID = "00000000-0000-0000-0000-00000000c1a1"
RED = ColourEmbedder(MODEL, DIMENSIONS).embed_texts(["red"])[0].astype(float).tolist()


@pytest.fixture(scope="module")
def newer(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The new schema; nobody calls its functions."""
    folder: Path = tmp_path_factory.mktemp("newer")
    with clone(cluster, template) as database, running(database.url, folder) as project:
        project.execute("delete from vault.secrets where name = 'neural_search_embed_url'")
        yield project


@pytest.fixture
def older(bare_database: Clone, tmp_path: Path) -> Iterator[Running]:
    """The schema of 0.1.0 with today's functions, which can load its model."""
    install_0_1_0(bare_database)
    with running(bare_database.url, tmp_path) as project:
        models = ModelRegistry([ACTIVE], lambda name: ColourEmbedder(name, 1280))
        for app in project.apps.values():
            app.extensions["models"] = models
        project.execute("insert into storage.buckets (id, name) values ('images', 'images')")
        project.execute("select public.index_bucket('images')")
        project.execute("create policy everybody on storage.objects for select to anon using (true)")
        yield project


def call(project: Running, function: str, **arguments: Any) -> Any:
    return project.service().rpc(function, arguments).execute().data


def upload(project: Running, name: str) -> None:
    project.service().storage.from_("images").upload(name, picture("red"), {"content-type": "image/png"})


def test_functions_of_0_1_0_do_a_workers_whole_job_in_the_new_schema(newer: Running):
    """By the arguments that they give; `shown` and the decoder's version are missing."""
    for name in ("a.png", "b.png", "c.png", "d.png"):
        upload(newer, name)
    claim = {"loaded_models": [MODEL], "lease_seconds": 120, "claim_id": CLAIM_ID}
    first, second, third, fourth = call(newer, "claim_embedding_jobs", max_jobs=4, **claim)
    assert first.keys() >= JOB
    about = {key: first[key] for key in ("object_id", "model")} | {"object_version": first["version"]}
    found = {"content_hash": "0" * 64, "width": 2, "height": 2, "mime_type": "image/png"}
    vector = json.dumps(RED)
    finished = call(
        newer, "finish_embedding_job", **about, **found, embedding=vector, perceptual_hash="01" * 32
    )
    assert finished == "embedded"
    about = {key: second[key] for key in ("object_id", "model")} | {"object_version": second["version"]}
    assert call(newer, "reuse_embedding", **about, content_hash="0" * 64) == "embedded"
    why = {"error_class": "BrokenImage", "error_message": "It is broken."}
    lease = {key: third[key] for key in ("object_id", "model", "lease_id")}
    assert call(newer, "fail_embedding_job", **lease, outcome="failed", **why) == "failed"
    given_back = {"lease_ids": [fourth["lease_id"]], "claim_ids": [], "delay_seconds": 0, **why}
    assert call(newer, "release_embedding_jobs", **given_back) == 1
    [row] = call(newer, "claim_object", target_object_id=fourth["object_id"], **claim)
    assert row["status"] == "claimed" and row.keys() >= JOB | {"reason"}


def test_functions_of_0_1_0_search_in_the_new_schema(newer: Running):
    upload(newer, "found.png")
    [job] = [
        row
        for row in call(newer, "claim_embedding_jobs", loaded_models=[MODEL], max_jobs=9, lease_seconds=120)
        if row["name"] == "found.png"
    ]
    call(
        newer, "finish_embedding_job", object_id=job["object_id"], model=MODEL, object_version=job["version"],
        embedding=json.dumps(RED), content_hash="1" * 64, width=2, height=2, mime_type="image/png",
    )  # fmt: skip
    anon = newer.supabase()
    [active] = anon.rpc("active_model", {}).execute().data
    assert active == {"name": MODEL, "dimensions": DIMENSIONS}
    asked = {"query_embedding": RED, "model": MODEL, "query_kind": "image", "match_count": 20}
    narrow = {"filter": {"prefix": "found"}, "skip_count": 0}
    [match] = anon.rpc("match_documents", asked | narrow).execute().data
    assert match.keys() >= MATCH and match["content"] == "found.png"
    likes = {"likes": [{"embedding": RED, "weight": 1}], "unlikes": [], "strategy": "average", "diversity": 0}
    given = likes | narrow | {"model": MODEL, "query_kind": "image", "match_count": 20}
    [match] = anon.rpc("recommend_documents", given).execute().data
    assert match.keys() >= MATCH | {"closest", "duplicates"}
    [named] = anon.rpc("get_embeddings", {"names": ["found.png"], "model": MODEL}).execute().data
    assert named.keys() >= {"id", "bucket_id", "content"}
    [state] = anon.rpc("object_states", {"bucket": "images", "names": ["found.png"]}).execute().data
    assert state["state"] == "searchable" and state.keys() >= {"object_id", "reason"}


def test_todays_functions_lose_nothing_in_the_schema_of_0_1_0_and_say_what_to_do(older: Running):
    upload(older, "a.png")
    job = "select j.error_class, j.attempts from neural_search.jobs as j"
    with psycopg.connect(older.database_url("postgres"), autocommit=True) as connection:
        older.eventually(lambda: connection.execute(job).fetchall(), [("DatabaseOutdated", 0)])
    answer = older.post("query", json={"text": "red"})
    assert answer.status_code == 503 and "neural-search install" in answer.text
    assert httpx.get(f"{older.url}/functions/v1/query/live").status_code == 200

    migrations.apply(older.database_url("postgres"))
    older.execute("update neural_search.jobs set next_attempt_at = now()")
    older.execute("select neural_search.kick_due()")
    older.eventually(lambda: older.state("a.png")[0], "searchable")
    assert older.search(text="red") == ["images/a.png"]
