"""Search shows everybody the same objects as Storage, all and no others: each caller, each kind of bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support import lookups, scenario
from support.databases import clone
from support.lookups import Caller
from support.running_project import running

from local.postgres import Cluster
from shared.testing import picture


@pytest.fixture(scope="module", params=[scenario.BUCKETS, scenario.CALM], ids=["all buckets", "calm ones"])
def callers(
    request: pytest.FixtureRequest, cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Caller]]:
    """Everybody, at a project of these buckets."""
    folder: Path = tmp_path_factory.mktemp("matrix")
    with clone(cluster, template) as database, running(database.url, folder) as project:
        scenario.build(project, request.param)
        yield {name: lookups.caller(project, name, request.param) for name in scenario.CALLERS}


@pytest.mark.parametrize("name", scenario.CALLERS)
def test_storage_shows_each_caller_what_the_table_says(callers: dict[str, Caller], name: str):
    told = {
        (bucket, way): lookups.STORAGE[way](callers[name], bucket)
        for bucket, about in callers[name].buckets.items()
        for way in about.told_by
    }
    assert told == {(bucket, way): scenario.seen(name, bucket) for bucket, way in told}


@pytest.mark.parametrize("way", lookups.SEARCHES)
@pytest.mark.parametrize("name", scenario.CALLERS)
def test_search_shows_each_caller_what_the_table_says(callers: dict[str, Caller], name: str, way: str):
    assert lookups.SEARCHES[way](callers[name]) == callers[name].expected


@pytest.mark.parametrize("name", scenario.CALLERS)
def test_no_hidden_document_is_confirmed_to_be_a_duplicate(callers: dict[str, Caller], name: str):
    ids = list(range(1, 100))
    rows = callers[name].rpc("confirm_duplicates", first_ids=ids, second_ids=ids)
    assert len(rows) == len(callers[name].expected)


@pytest.mark.parametrize("name", scenario.CALLERS)
def test_urls_are_given_only_for_what_storage_lets_the_caller_read(callers: dict[str, Caller], name: str):
    results = callers[name].query(text="red")
    shown = {(one["bucket"], one["name"]) for one in results if one["url"]}
    assert shown == {pair for pair in callers[name].expected if _shows(callers[name], *pair)}
    for one in results:
        if one["url"]:
            assert httpx.get(one["url"]).content == picture("red")


def _shows(caller: Caller, bucket: str, name: str) -> bool:
    """Whether Storage, asked directly, signs a URL for the caller, or has one for everybody."""
    if scenario.BUCKETS[bucket].public:
        return True
    answer = caller.post(f"/storage/v1/object/sign/{bucket}", json={"paths": [name], "expiresIn": 60})
    return bool(answer.json()[0]["signedURL"]) if answer.status_code == 200 else False


def test_a_renamed_image_is_found_by_its_new_name_at_once_by_those_who_may_see_it(callers: dict[str, Caller]):
    """Each bucket's first image becomes giraffe.png and back; nobody else's answer changes."""
    for bucket, name in [
        (bucket, min(about.seen_by)) for bucket, about in callers["service"].buckets.items()
    ]:
        renamed = f"{name.rpartition('/')[0]}/giraffe.png".lstrip("/")
        before = {who: _giraffes(caller) for who, caller in callers.items()}
        move(callers["service"], bucket, name, renamed)
        after = {who: _giraffes(caller) for who, caller in callers.items()}
        move(callers["service"], bucket, renamed, name)
        seeing = {who for who in callers if name in scenario.seen(who, bucket)}
        assert not any(before.values())
        assert after == {who: {(bucket, renamed)} if who in seeing else set() for who in callers}


def move(caller: Caller, bucket: str, name: str, renamed: str) -> None:
    body = {"bucketId": bucket, "sourceKey": name, "destinationKey": renamed}
    answer = caller.post("/storage/v1/object/move", json=body)
    assert answer.status_code == 200, answer.text


def _giraffes(caller: Caller) -> set[tuple[str, str]]:
    wide = {"query_embedding": lookups.RED, "similarity_threshold": -1, "match_count": 500}
    rows = caller.rpc("search_documents", query_text="a giraffe", **wide)
    return {(row["bucket_id"], row["content"]) for row in rows if "name" in row["found_by"]}
