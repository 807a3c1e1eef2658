"""Copies, moves and uploads of the same bytes under other names: embedded once, found under each name."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from support.databases import clone
from support.running_project import Running, running

from local.postgres import Cluster
from shared.testing import picture

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def project(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("reuse")
    with clone(cluster, template) as database, running(database.url, folder) as everything:
        everything.execute("insert into storage.buckets (id, name) values ('archive', 'archive')")
        everything.execute("select public.index_bucket('archive')")
        yield everything


def embedded(project: Running) -> int:
    """How many images the model has embedded so far."""
    url = f"{project.url}/functions/v1/embed_on_upload/metrics"
    answer = httpx.get(url, headers={"x-webhook-secret": str(project.keys.webhook)})
    found = re.search(r'neural_search_step_seconds_count{step="embed"} (\d+)', answer.text)
    return int(found[1]) if found else 0


def documents(project: Running) -> list[tuple[str, str]]:
    rows = project.service().table("documents").select("bucket_id", "content").execute().data
    return sorted((row["bucket_id"], row["content"]) for row in rows)


def test_the_same_bytes_are_embedded_once_and_found_under_every_name(project: Running):
    storage = project.service().storage
    images, before = storage.from_("images"), embedded(project)

    def searchable(*names: tuple[str, str]) -> None:
        for bucket, name in names:
            project.eventually(lambda name=name, bucket=bucket: project.state(name, bucket)[0], "searchable")  # type: ignore[misc]

    images.upload("a.png", picture("teal"), PNG)
    searchable(("images", "a.png"))
    images.copy("a.png", "copy.png")
    storage.from_("archive").upload("again.png", picture("teal"), PNG)
    images.move("a.png", "moved.png")
    everywhere = [("images", "moved.png"), ("images", "copy.png"), ("archive", "again.png")]
    searchable(*everywhere)
    assert embedded(project) - before == 1
    assert documents(project) == sorted(everywhere)
    assert sorted(project.search(text="teal")) == ["images/copy.png", "images/moved.png"]  # as anon

    images.upload("moved.png", picture("red"), {**PNG, "upsert": "true"})
    searchable(("images", "moved.png"))
    assert embedded(project) - before == 2  # other bytes under a known name are other bytes

    images.remove(["moved.png", "copy.png"])
    storage.from_("archive").remove(["again.png"])
    assert documents(project) == []
    images.upload("late.png", picture("teal"), PNG)
    searchable(("images", "late.png"))
    assert embedded(project) - before == 3  # nothing was kept
