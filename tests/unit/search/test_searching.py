"""Search: how inputs combine, which results are left out, and the caller's answer."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import requests
import responses

from shared import images
from shared.errors import (
    Busy,
    InvalidCursor,
    InvalidLimit,
    InvalidQuery,
    ModelNotLoaded,
    ObjectNotFound,
    StorageError,
    TextUnsupported,
)
from shared.runtime.limiter import ConcurrencyLimiter
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.search import cursors
from shared.search.index import ActiveModel
from shared.search.preview_links import SIGNERS, PreviewLinks
from shared.search.query import Query, QueryBody
from shared.search.query_examples import Example
from shared.search.search import NOTICE, POOL, POOL_NOTICE, Found, Search
from shared.settings import CHECKOUT, Secret
from shared.supabase import credentials
from shared.supabase.database import Database, http_client
from shared.supabase.storage import Storage
from shared.testing import ColourEmbedder, RpcTransport, picture

URL = "http://supabase.test"
CALLER = credentials.caller({"Authorization": "Bearer user"}, Secret("ours"))
MODEL = ActiveModel(name="colours", dimensions=4)


def example(kind: str, value: Any, field: str = "like", index: int = 0, **more: Any) -> Example:
    return Example(kind=kind, value=value, field=field, index=index, **more)


RED = Query(like=(example("text", "red", "text"),))


def stored_query(*ids: int, unlike: tuple[int, ...] = (), **more: Any) -> Query:
    return Query(
        like=tuple(example("id", one, index=index) for index, one in enumerate(ids)),
        unlike=tuple(example("id", one, "unlike", index) for index, one in enumerate(unlike)),
        **more,
    )


def match(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "bucket_id": "images",
        "object_id": f"object {number}",
        "content": f"{number}.png",
        "similarity": 1 - number / 100,
        "metadata": {},
        "confidence": "strong",
        **changes,
    }


def recommended(number: int, **changes: Any) -> dict[str, Any]:
    return match(number, **{"score": 0.5, "closest": 0, "duplicates": [], **changes})


def worded(number: int, **changes: Any) -> dict[str, Any]:
    return match(number, **{"score": 1.5 - number / 100, "found_by": ["image"], "duplicates": [], **changes})


def stored(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": number, "bucket_id": "images", "content": f"{number}.png", **changes}


@pytest.fixture
def postgrest() -> RpcTransport:
    return RpcTransport(
        match_documents=[match(1), match(2)],
        search_documents=[worded(1), worded(2, found_by=["name"])],
        recommend_documents=[recommended(1), recommended(2)],
        get_embeddings=[],
    )


@pytest.fixture
def storage() -> Iterator[responses.RequestsMock]:
    def sign(request: Any) -> tuple[int, dict[str, str], str]:
        rows = [
            {"error": None, "path": path, "signedURL": f"/object/sign/{path}?token=t"}
            for path in json.loads(request.body)["paths"]
        ]
        return 200, {}, json.dumps(rows)

    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add_callback("POST", f"{URL}/storage/v1/object/sign/images", sign)
        yield mock


def build(
    postgrest: RpcTransport,
    load: Any = ColourEmbedder,
    limiter: ConcurrencyLimiter | None = None,
    transforms: bool = False,
) -> Search:
    http = http_client(postgrest)
    return Search(
        connect=lambda caller: Database(URL, caller, http),
        storage=lambda caller: Storage(URL, caller, requests.Session()),
        models=ModelRegistry(["colours"], load),
        file_limiter=ConcurrencyLimiter(running=1, waiting=1),
        text_limiter=limiter or ConcurrencyLimiter(running=1, waiting=1),
        metrics=Metrics(),
        decode=partial(images.decode, max_bytes=10_000, max_pixels=10_000),
        previews=PreviewLinks(transforms=transforms),
    )


def find(postgrest: RpcTransport, query: Query, **built: Any) -> list[Found]:
    return build(postgrest, **built).find(CALLER, MODEL, query).results


def test_results_carry_urls_signed_in_one_call_as_the_caller(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    [first, second] = find(postgrest, RED)
    assert (first.id, first.bucket, first.name, first.content) == (1, "images", "1.png", "1.png")
    assert second.url == f"{URL}/storage/v1/object/sign/images/2.png?token=t"
    [call] = storage.calls
    assert call.request.headers["Authorization"] == "Bearer user"
    assert postgrest.requests[0].headers["Authorization"] == "Bearer user"


def test_a_storage_that_refuses_leaves_the_url_out_and_not_the_result(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    storage.replace("POST", f"{URL}/storage/v1/object/sign/images", status=503)
    assert [one.url for one in find(postgrest, RED)] == [None, None]


def test_a_storage_that_is_away_is_waited_for_once_and_not_for_each_bucket(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    postgrest.answers["search_documents"] = [worded(1), worded(2, bucket_id="other"), worded(3)]
    storage.replace("POST", f"{URL}/storage/v1/object/sign/images", body=requests.ReadTimeout("slow"))
    storage.add("POST", f"{URL}/storage/v1/object/sign/other", status=503)
    assert [one.url for one in find(postgrest, RED)] == [None, None, None]
    assert len(storage.calls) == 1


@pytest.mark.parametrize(
    ("kind", "value", "embedded"), [("text", "red", "red"), ("image", picture("lime"), "lime")]
)
def test_one_text_or_image_is_matched_by_the_model_that_embedded_it(
    postgrest: RpcTransport, storage: responses.RequestsMock, kind: str, value: Any, embedded: str
):
    query = Query(
        like=(example(kind, value, kind),), limit=5, min_similarity=0.5, filter={"bucket": "images"}, offset=3
    )
    [first, *_] = find(postgrest, query)
    [asked] = postgrest.called("search_documents" if kind == "text" else "match_documents")
    assert np.allclose(asked.pop("query_embedding"), ColourEmbedder().embed_texts([embedded])[0])
    assert asked.pop("query_text", None) == ("red" if kind == "text" else None)
    assert asked == {
        "model": "colours",
        "query_kind": kind,
        "similarity_threshold": 0.5,
        "match_count": 5,
        "skip_count": 3,
        "filter": {"bucket": "images"},
    }
    assert (first.confidence, first.closest) == ("strong", {"field": kind, "index": 0})


def test_several_examples_are_recommended_from_with_their_weights(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    query = Query(
        like=(example("text", "red", "text"), example("id", 7, weight=2)),
        unlike=(example("image", picture("lime"), "unlike"),),
        strategy="best_score",
        diversity=0.5,
        collapse="duplicates",
        filter={"min_bytes": 7},
    )
    find(postgrest, query)
    [asked] = postgrest.called("recommend_documents")
    model = ColourEmbedder()
    [red, seven], [lime] = asked.pop("likes"), asked.pop("unlikes")
    assert (red["kind"], red["weight"], lime["kind"]) == ("text", 1, "image")
    assert np.allclose(red["embedding"], model.embed_texts(["red"])[0])
    assert seven == {"id": 7, "weight": 2}
    assert np.allclose(lime["embedding"], model.embed_texts(["lime"])[0])
    assert asked == {
        "model": "colours",
        "query_kind": "mixed",
        "strategy": "best_score",
        "diversity": 0.5,
        "collapse": "duplicates",
        "match_count": 10,
        "skip_count": 0,
        "similarity_threshold": -2,
        "filter": {"min_bytes": 7},
    }


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (stored_query(7), "image"),
        (stored_query(unlike=(7,)), "image"),
        (Query(like=(example("text", "red"), example("text", "blue", index=1))), "text"),
        (Query(unlike=(example("text", "red", "unlike"),)), "text"),
        (Query(like=(example("text", "red"), example("id", 7))), "mixed"),
    ],
)
def test_what_a_query_was_made_of_is_told(
    postgrest: RpcTransport, storage: responses.RequestsMock, query: Query, kind: str
):
    postgrest.answers["recommend_documents"] = [recommended(1, closest=0 if query.like else None)]
    find(postgrest, query)
    assert [asked["query_kind"] for asked in postgrest.called("recommend_documents")] == [kind]


def test_each_result_names_its_closest_example_as_it_was_given(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    rows = [recommended(1, closest=1), recommended(2, closest=2), recommended(3, closest=None)]
    postgrest.answers["recommend_documents"] = rows
    query = Query(like=(example("text", "red", "text"), example("id", 7), example("id", 8, index=5)))
    assert [one.closest for one in find(postgrest, query)] == [
        {"field": "like", "index": 0},
        {"field": "like", "index": 5},
        None,
    ]


def test_copies_that_were_folded_have_a_url_too(postgrest: RpcTransport, storage: responses.RequestsMock):
    copy = {"id": 9, "bucket": "images", "name": "9.png"}
    postgrest.answers["recommend_documents"] = [recommended(1, duplicates=[copy])]
    [found] = find(postgrest, stored_query(7, collapse="duplicates"))
    assert found.duplicates == [copy | {"url": f"{URL}/storage/v1/object/sign/images/9.png?token=t"}]


def test_stored_images_are_searched_by_without_model_download_or_vector(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    search = build(postgrest, load=None)
    another = ActiveModel(name="another", dimensions=4)
    assert len(search.find(CALLER, another, stored_query(7)).results) == 2
    assert [name for name, _ in postgrest.calls] == ["recommend_documents"]
    assert postgrest.called("recommend_documents")[0]["likes"] == [{"id": 7, "weight": 1}]
    assert [call.request.method for call in storage.calls] == ["POST"]  # signing


@pytest.mark.parametrize("name", ["a/7.png", "images/a/7.png"])
def test_an_example_is_named_by_path_or_bucket_and_path(
    postgrest: RpcTransport, storage: responses.RequestsMock, name: str
):
    postgrest.answers["get_embeddings"] = [stored(7, content="a/7.png")]
    find(postgrest, Query(like=(example("name", name),)))
    assert postgrest.called("recommend_documents")[0]["likes"] == [{"id": 7, "weight": 1}]
    assert postgrest.called("get_embeddings") == [{"names": [name], "model": "colours"}]


def test_names_become_ids_in_one_call_that_fetches_no_vector(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    postgrest.answers["get_embeddings"] = [stored(7), stored(8), stored(9)]
    like, unlike = [example("name", "7.png"), example("name", "8.png", index=1)], [example("name", "9.png")]
    find(postgrest, Query(like=tuple(like), unlike=tuple(unlike)))
    assert [name for name, _ in postgrest.calls] == ["get_embeddings", "recommend_documents"]
    assert postgrest.called("get_embeddings")[0]["names"] == ["7.png", "8.png", "9.png"]
    assert postgrest.requests[0].url.params["select"] == "id,bucket_id,content"
    assert postgrest.called("recommend_documents")[0]["unlikes"] == [{"id": 9, "weight": 1}]


@pytest.mark.parametrize("name", ["8.png", "other/7.png"])
def test_a_name_that_is_not_there_or_not_ours_to_see_is_told(postgrest: RpcTransport, name: str):
    postgrest.answers["get_embeddings"] = [stored(7)]
    with pytest.raises(ObjectNotFound) as raised:
        find(postgrest, Query(like=(example("name", name),)))
    assert raised.value.value == name and name in raised.value.detail


def test_a_path_that_several_buckets_have_means_the_filters_bucket_or_nothing(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    postgrest.answers["get_embeddings"] = [stored(7), stored(8, content="7.png", bucket_id="other")]
    with pytest.raises(InvalidQuery, match="several buckets: images, other"):
        find(postgrest, Query(like=(example("name", "7.png"),)))
    find(postgrest, Query(like=(example("name", "7.png"),), filter={"bucket": "other"}))
    assert postgrest.called("recommend_documents")[0]["likes"] == [{"id": 8, "weight": 1}]


@pytest.mark.parametrize("filter", [{}, {"bucket": "x"}])
def test_a_name_that_is_also_a_path_in_another_bucket_means_bucket_and_path(
    postgrest: RpcTransport, storage: responses.RequestsMock, filter: dict[str, Any]
):
    path = stored(8, content="images/a.jpg", bucket_id="x")
    postgrest.answers["get_embeddings"] = [path, stored(7, content="a.jpg")]
    find(postgrest, Query(like=(example("name", "images/a.jpg"),), filter=filter))
    find(postgrest, Query(like=(example("name", "x/images/a.jpg"),)))
    likes = [sent["likes"] for sent in postgrest.called("recommend_documents")]
    assert likes == [[{"id": 7, "weight": 1}], [{"id": 8, "weight": 1}]]


@pytest.mark.parametrize(
    ("asked", "threshold"),
    [
        ({}, -2),
        ({"best_confidence": "same"}, -2),
        ({"best_confidence": "same", "min_confidence": "related"}, -2),
        ({"min_similarity": -0.5}, -0.5),
        ({"min_similarity": 0.0}, 0),
    ],
)
def test_only_a_similarity_that_was_sent_cuts_off(
    postgrest: RpcTransport, storage: responses.RequestsMock, asked: dict[str, Any], threshold: float
):
    find(postgrest, Query(like=RED.like, **asked))
    [sent] = postgrest.called("search_documents")
    assert sent.get("similarity_threshold") == threshold
    assert sent.get("best_confidence") == asked.get("best_confidence")
    assert sent.get("min_confidence") == asked.get("min_confidence")


@pytest.mark.parametrize("words", [None, 0.0, 0.3])
def test_each_result_of_a_text_says_why_it_was_found(
    postgrest: RpcTransport, storage: responses.RequestsMock, words: float | None
):
    results = find(postgrest, replace(RED, words=words))
    assert [one.found_by for one in results] == [["image"], ["name"]]
    [asked] = postgrest.called("search_documents")
    assert asked.get("words") == words


@pytest.mark.parametrize("arranged", [{"collapse": "duplicates"}, {"diversity": 0.5}])
def test_the_words_of_a_text_count_where_results_are_varied_or_folded(
    postgrest: RpcTransport, storage: responses.RequestsMock, arranged: dict[str, Any]
):
    copy = {"id": 9, "bucket": "images", "name": "9.png"}
    postgrest.answers["search_documents"] = [worded(1, found_by=["name"], duplicates=[copy])]
    [found] = find(postgrest, replace(RED, words=1.0, **arranged))
    assert (found.found_by, [one["id"] for one in found.duplicates]) == (["name"], [9])
    [asked] = postgrest.called("search_documents")
    assert asked["words"] == 1 and arranged.items() <= asked.items()
    assert not postgrest.called("recommend_documents")


@pytest.mark.parametrize(
    "beside",
    [
        {"like": (*RED.like, example("id", 1))},
        {"like": (*RED.like, example("image", picture("blue"), "image"))},
        {"like": (*RED.like, example("text", "blue", "text", 1))},
        {"unlike": (example("text", "blue", "unlike"),)},
    ],
    ids=["a stored image", "a file", "a text", "an unwanted text"],
)
def test_beside_other_examples_no_word_of_a_text_counts_as_the_description_says(
    postgrest: RpcTransport, storage: responses.RequestsMock, beside: dict[str, Any]
):
    assert [one.found_by for one in find(postgrest, replace(RED, **beside))] == [["image"]] * 2
    assert not postgrest.called("search_documents")
    assert "one text alone" in (QueryBody.model_fields["text"].description or "")


def test_only_an_empty_first_page_lists_the_possible_reasons(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    search = build(postgrest)
    full = search.find(CALLER, MODEL, replace(RED, limit=2))
    postgrest.answers["search_documents"] = []
    assert (full.notice, search.find(CALLER, MODEL, RED).notice) == (None, NOTICE)
    assert search.find(CALLER, MODEL, replace(RED, limit=2, cursor=full.next_cursor)).notice is None


def test_a_full_page_leads_to_the_next_by_its_last_result(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    search = build(postgrest)
    query = replace(RED, limit=2)
    cursor = search.find(CALLER, MODEL, query).next_cursor
    page = search.find(CALLER, MODEL, replace(query, cursor=cursor))
    _, asked = postgrest.called("search_documents")
    assert asked["page_after"] == {"score": 1.48, "id": 2, "rank": 2}
    assert asked["skip_count"] == 0
    search.find(CALLER, MODEL, replace(query, cursor=page.next_cursor, limit=7))
    assert postgrest.called("search_documents")[2]["page_after"]["rank"] == 4
    assert search.find(CALLER, MODEL, replace(query, limit=3)).next_cursor is None


def test_a_cursor_leads_past_the_greatest_rank_that_the_database_takes(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    last = {"similarity": 0.5, "id": 7, "rank": 12_000}
    cursor = cursors.write(RED, MODEL.name, cursors.Start(skip=12_000, after=last))
    find(postgrest, replace(RED, cursor=cursor))
    [asked] = postgrest.called("search_documents")
    assert asked["page_after"] == {"similarity": 0.5, "id": 7, "rank": 10_000}


def test_recommendations_go_on_by_their_last_result(postgrest: RpcTransport, storage: responses.RequestsMock):
    search = build(postgrest)
    cursor = search.find(CALLER, MODEL, stored_query(7, limit=2, offset=4)).next_cursor
    search.find(CALLER, MODEL, stored_query(7, limit=2, cursor=cursor))
    first, second = postgrest.called("recommend_documents")
    assert (first["skip_count"], second["skip_count"]) == (4, 0)
    assert second["page_after"] == {"score": 0.5, "id": 2, "rank": 6}


def test_varied_results_end_with_the_pool_that_they_are_drawn_from(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    search = build(postgrest)
    varied = stored_query(7, limit=10, offset=195, diversity=0.5)
    search.find(CALLER, MODEL, varied)
    assert postgrest.called("recommend_documents")[0]["match_count"] == 5
    last = search.find(CALLER, MODEL, replace(varied, limit=2, offset=198))
    assert (last.next_cursor, last.notice) == (None, POOL_NOTICE)
    assert search.find(CALLER, MODEL, replace(varied, limit=2, offset=196)).notice is None
    with pytest.raises(InvalidLimit, match="the best 200 results are all there are"):
        search.find(CALLER, MODEL, replace(varied, offset=200))


def test_a_page_past_the_pool_is_refused_before_a_model_is_loaded(postgrest: RpcTransport):
    with pytest.raises(InvalidLimit):
        find(postgrest, replace(RED, diversity=0.5, offset=200), load=pytest.fail)
    assert not postgrest.calls


def test_folded_copies_count_among_the_200_that_are_looked_at(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    search = build(postgrest)
    copies = [{"id": number, "bucket": "images", "name": f"{number}.png"} for number in range(98)]
    full = [recommended(1, duplicates=copies), recommended(2)]
    postgrest.answers["recommend_documents"] = full
    first = search.find(CALLER, MODEL, stored_query(7, limit=2, collapse="duplicates"))
    assert first.next_cursor and first.notice is None
    second = search.find(
        CALLER, MODEL, stored_query(7, limit=2, collapse="duplicates", cursor=first.next_cursor)
    )
    assert (second.next_cursor, second.notice) == (None, POOL_NOTICE)


def test_a_cursor_is_worth_nothing_for_another_search_or_model(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    search = build(postgrest)
    cursor = search.find(CALLER, MODEL, replace(RED, limit=2)).next_cursor
    with pytest.raises(InvalidCursor, match="another search"):
        search.find(CALLER, MODEL, stored_query(7, cursor=cursor))
    with pytest.raises(InvalidCursor, match="model 'colours', which isn't active any more"):
        search.find(CALLER, ActiveModel(name="b", dimensions=4), replace(RED, cursor=cursor))


def test_a_cursor_belongs_to_its_image_and_takes_no_copy_of_it():
    def searched(file: bytes) -> Query:
        return Query(like=(example("image", file, "image"),))

    file = bytes(4_000_000)
    tracemalloc.start()
    cursor = cursors.write(searched(file), MODEL.name, cursors.Start(skip=1))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < len(file)
    assert cursors.start(replace(searched(file), cursor=cursor), MODEL.name).skip == 1
    with pytest.raises(InvalidCursor, match="another search"):
        cursors.start(replace(searched(file[1:]), cursor=cursor), MODEL.name)


@pytest.mark.parametrize(
    "fields",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b"[" * 900,
        b'{"query": "x", "model": "y", "skip": -1, "after": null}',
        b'{"query": "x", "model": "y", "skip": 0, "after": {"similarity": NaN, "id": 1, "rank": 1}}',
        b'{"query": "x", "model": "y", "skip": 0, "after": [1]}',
        b'{"query": "x", "model": "y", "skip": 0, "after": {"similarity": 1'
        + 400 * b"0"
        + b', "id": 1, "rank": 1}}',
    ],
)
def test_a_cursor_that_is_none_is_refused(postgrest: RpcTransport, fields: bytes):
    cursor = base64.urlsafe_b64encode(fields).decode()
    with pytest.raises(InvalidCursor, match="no cursor of ours"):
        find(postgrest, replace(RED, cursor=cursor))
    with pytest.raises(InvalidCursor):
        find(postgrest, replace(RED, cursor="\N{BLACK STAR}"))


def test_the_pool_is_the_databases():
    source = (CHECKOUT / "supabase/sql/recommend.sql").read_text()
    assert f"when is_pooled then {POOL} else 1000 - " in source


def test_a_model_that_is_not_loaded_here_is_named(postgrest: RpcTransport):
    with pytest.raises(ModelNotLoaded, match="another"):
        build(postgrest).find(CALLER, ActiveModel(name="another", dimensions=4), RED)


def test_text_for_a_model_without_a_text_side_is_refused(postgrest: RpcTransport):
    class Blind(ColourEmbedder):
        supports_text = False

    with pytest.raises(TextUnsupported):
        find(postgrest, RED, load=Blind)


def test_a_full_gate_says_busy(postgrest: RpcTransport):
    limiter = ConcurrencyLimiter(running=1, waiting=0)
    with limiter.enter(), pytest.raises(Busy):
        find(postgrest, RED, limiter=limiter)


def test_previews_are_querys_own_by_the_originals_token(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    found = find(postgrest, RED)
    assert found[0].preview == "preview?bucket=images&name=1.png&token=t"


RENDERED = f"{URL}/storage/v1/render/image"


def test_previews_are_storages_own_where_the_project_transforms_images(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    for name in ("1.png", "2.png"):
        signed = {"signedURL": f"/render/image/sign/images/{name}?token=small-{name}"}
        storage.post(f"{URL}/storage/v1/object/sign/images/{name}", json=signed)
    found = find(postgrest, RED, transforms=True)
    assert [one.preview for one in found] == [
        f"{RENDERED}/sign/images/{name}?token=small-{name}" for name in ("1.png", "2.png")
    ]
    [_, *calls] = storage.calls
    for call in calls:
        transform = {"width": 400, "height": 400, "resize": "contain"}
        assert json.loads(call.request.body) == {"expiresIn": 600, "transform": transform}
        assert call.request.headers["Authorization"] == "Bearer user"


def test_a_project_that_doesnt_transform_after_all_has_querys_own_previews(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    signed = {"signedURL": "/object/sign/images/1.png?token=large"}  # Storage's answer without the feature
    storage.post(f"{URL}/storage/v1/object/sign/images/1.png", json=signed)
    storage.post(f"{URL}/storage/v1/object/sign/images/2.png", status=500)
    found = find(postgrest, RED, transforms=True)
    assert [one.preview for one in found] == [
        f"preview?bucket=images&name={name}&token=t" for name in ("1.png", "2.png")
    ]


def test_a_storage_that_is_slow_to_sign_previews_is_asked_again_after_a_pause():
    """All callers' signatures share few threads, and each that is slow keeps one for up to a minute."""
    now, asked = 0.0, []

    class Slow:
        def sign_transformation(self, bucket: str, name: str, *, side: int, seconds: int) -> str:
            nonlocal now
            asked.append(name)
            now += 6
            raise StorageError()

    links = PreviewLinks(transforms=True, clock=lambda: now)
    urls = {("images", f"{number}.png"): f"{URL}/{number}.png?token=t" for number in range(100)}
    for _callers in range(3):
        found = links.of(cast(Storage, Slow()), urls, seconds=600)
        assert all(link.startswith("preview?") for link in found.values()) and len(found) == 100
        assert 0 < len(asked) <= SIGNERS
    now += 60
    links.of(cast(Storage, Slow()), dict([*urls.items()][:1]), seconds=600)
    assert asked[-1] == "0.png" and len(asked) <= SIGNERS + 1


def test_public_images_are_transformed_without_a_token(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    storage.replace("POST", f"{URL}/storage/v1/object/sign/images", json=[])
    storage.get(f"{URL}/storage/v1/object/info/public/images/1.png", json={})
    bounds = "width=400&height=400&resize=contain"
    previews = {way: find(postgrest, RED, transforms=way)[0].preview for way in (False, True)}
    assert previews == {
        False: "preview?bucket=images&name=1.png",
        True: f"{RENDERED}/public/images/1.png?{bounds}",
    }
