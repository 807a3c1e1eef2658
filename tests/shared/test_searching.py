"""Search: how inputs combine, what is left out, and what the caller gets to see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import requests
import responses

from shared import identity, images
from shared.documents import ActiveModel
from shared.errors import Busy, InvalidQuery, ModelNotLoaded, ObjectNotFound, TextUnsupported
from shared.gate import Gate
from shared.metrics import Metrics
from shared.models import Models
from shared.queries import Query
from shared.rpc import Database, http_client
from shared.search import Search, combine
from shared.settings import Secret
from shared.storage import Storage
from shared.testing import ColourEmbedder, RpcTransport, picture

URL = "http://supabase.test"
CALLER = identity.caller({"Authorization": "Bearer user"}, Secret("ours"))
MODEL = ActiveModel(name="colours", dimensions=4)

X, Y = np.array([1.0, 0, 0, 0]), np.array([0, 1.0, 0, 0])


def test_one_vector_is_itself():
    assert np.allclose(combine([X], []), X)


def test_positives_are_averaged_and_negatives_pushed_away_from():
    assert np.allclose(combine([X, Y], []), [0.5**0.5, 0.5**0.5, 0, 0])
    # avg(positives) + (avg(positives) - avg(negatives)) = 2x - y
    assert np.allclose(combine([X], [Y]), np.array([2, -1, 0, 0]) / 5**0.5)


def test_negatives_alone_point_away_from_them():
    assert np.allclose(combine([], [X, Y]), [-(0.5**0.5), -(0.5**0.5), 0, 0])


def test_examples_that_cancel_out_are_refused():
    with pytest.raises(InvalidQuery, match="cancel"):
        combine([X], [2 * X])


def match(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "bucket_id": "images",
        "object_id": f"object {number}",
        "content": f"{number}.png",
        "similarity": 1 - number / 100,
        "metadata": {},
        **changes,
    }


def stored(number: int, vector: np.ndarray = X, **changes: Any) -> dict[str, Any]:
    embedding = json.dumps(vector.tolist())
    return {**match(number), "embedding": embedding, **changes}


@pytest.fixture
def postgrest() -> RpcTransport:
    return RpcTransport(match_documents=[match(1), match(2)], get_embeddings=[])


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


def build(postgrest: RpcTransport, load: Any = ColourEmbedder, gate: Gate | None = None) -> Search:
    http = http_client(postgrest)
    return Search(
        connect=lambda caller: Database(URL, caller, http),
        storage=lambda caller: Storage(URL, caller, requests.Session()),
        models=Models(["colours"], load),
        gate=gate or Gate(running=1, waiting=1),
        metrics=Metrics(),
        decode=partial(images.decode, max_bytes=10_000, max_pixels=10_000),
    )


def test_results_carry_urls_signed_in_one_call_as_the_caller(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    [first, second] = build(postgrest).find(CALLER, MODEL, Query(texts=("red",)))
    assert (first.id, first.bucket, first.name, first.content) == (1, "images", "1.png", "1.png")
    assert second.url == f"{URL}/storage/v1/object/sign/images/2.png?token=t"
    [call] = storage.calls
    assert call.request.headers["Authorization"] == "Bearer user"
    assert postgrest.requests[0].headers["Authorization"] == "Bearer user"


def test_a_storage_that_refuses_leaves_the_url_out_and_not_the_result(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    storage.replace("POST", f"{URL}/storage/v1/object/sign/images", status=503)
    found = build(postgrest).find(CALLER, MODEL, Query(texts=("red",)))
    assert [one.url for one in found] == [None, None]


def test_text_image_and_examples_become_one_vector(postgrest: RpcTransport, storage: responses.RequestsMock):
    postgrest.answers["get_embeddings"] = [stored(7)]
    query = Query(
        texts=("red",),
        images=(picture("lime"),),
        like=("7.png",),
        limit=5,
        min_similarity=0.5,
        bucket="images",
    )
    build(postgrest).find(CALLER, MODEL, query)
    model = ColourEmbedder()
    expected = combine([*model.embed_texts(["red", "lime"]), X], [])
    [asked] = postgrest.called("match_documents")
    assert np.allclose(asked.pop("query_embedding"), expected)
    assert asked == {
        "similarity_threshold": 0.5,
        "match_count": 6,
        "bucket": "images",
        "skip_count": 0,
    }


def test_the_examples_themselves_are_left_out_and_the_page_is_still_full(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    ranked = [match(number) for number in range(1, 20)]
    postgrest.answers["match_documents"] = lambda asked: ranked[asked["skip_count"] :][: asked["match_count"]]
    postgrest.answers["get_embeddings"] = lambda asked: [
        stored(number) for number in asked.get("document_ids", [])
    ]

    def ids(**query: Any) -> list[int]:
        return [one.id for one in build(postgrest).find(CALLER, MODEL, Query(**query))]

    assert ids(like=(1, 4), limit=3) == [2, 3, 5]
    assert ids(like=(1, 4), limit=3, offset=3) == [6, 7, 8]
    assert ids(texts=("red",), limit=3, offset=3) == [4, 5, 6]
    assert ids(like=(1,), unlike=(2,), limit=2) == [3, 4]


def test_stored_images_are_searched_by_without_loading_a_model(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    postgrest.answers["get_embeddings"] = [stored(7)]
    search = build(postgrest, load=None)
    assert len(search.find(CALLER, ActiveModel(name="another", dimensions=4), Query(like=(7,)))) == 2


def test_an_example_is_named_by_id_path_or_bucket_and_path(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    postgrest.answers["get_embeddings"] = [stored(7, content="a/7.png")]
    for example in (7, "a/7.png", "images/a/7.png"):
        assert len(build(postgrest).find(CALLER, MODEL, Query(like=(example,)))) == 2


@pytest.mark.parametrize("example", [8, "8.png", "other/7.png"])
def test_an_example_that_is_not_there_or_not_ours_to_see_is_named(postgrest: RpcTransport, example: Any):
    postgrest.answers["get_embeddings"] = [stored(7)]
    with pytest.raises(ObjectNotFound) as raised:
        build(postgrest).find(CALLER, MODEL, Query(like=(example,)))
    assert raised.value.value == example


def test_a_path_that_several_buckets_have_means_the_filters_bucket_or_nothing(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    postgrest.answers["get_embeddings"] = [stored(7), stored(8, Y, content="7.png", bucket_id="other")]
    with pytest.raises(InvalidQuery, match="several buckets: images, other"):
        build(postgrest).find(CALLER, MODEL, Query(like=("7.png",)))
    build(postgrest).find(CALLER, MODEL, Query(like=("7.png",), bucket="other"))
    [asked] = postgrest.called("match_documents")
    assert np.allclose(asked["query_embedding"], Y)


def test_a_model_that_is_not_loaded_here_is_named(postgrest: RpcTransport):
    with pytest.raises(ModelNotLoaded, match="another"):
        build(postgrest).find(CALLER, ActiveModel(name="another", dimensions=4), Query(texts=("red",)))


def test_text_for_a_model_without_a_text_side_is_refused(postgrest: RpcTransport):
    class Blind(ColourEmbedder):
        supports_text = False

    with pytest.raises(TextUnsupported):
        build(postgrest, load=Blind).find(CALLER, MODEL, Query(texts=("red",)))


def test_a_model_change_during_the_query_asks_to_come_back(postgrest: RpcTransport):
    postgrest.answers["get_embeddings"] = [stored(7, np.ones(3))]
    with pytest.raises(Busy, match="just changed"):
        build(postgrest).find(CALLER, MODEL, Query(like=(7,)))


def test_a_full_gate_says_busy(postgrest: RpcTransport):
    gate = Gate(running=1, waiting=0)
    with gate.enter(), pytest.raises(Busy):
        build(postgrest, gate=gate).find(CALLER, MODEL, Query(texts=("red",)))
