"""query over HTTP: every way to ask, every way to be refused, and the order in which that happens."""

from __future__ import annotations

import base64
import errno
import gc
import gzip
import io
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import responses
from flask import Flask
from flask.testing import FlaskClient
from support.waiting import eventually
from werkzeug.test import TestResponse

from functions.query import pages
from shared.errors import ModelBroken
from shared.http import handlers
from shared.runtime import logs
from shared.runtime.limiter import ConcurrencyLimiter
from shared.search.uploads import Upload
from shared.settings import CHECKOUT
from shared.testing import ColourEmbedder, RpcTransport, picture

STORAGE = "http://supabase.test/storage/v1/object"
RED = picture("red")


@pytest.fixture
def postgrest() -> RpcTransport:
    match = {
        "id": 1,
        "bucket_id": "images",
        "object_id": "o",
        "content": "a/1.png",
        "similarity": 0.9,
        "metadata": {"title": "One"},
        "confidence": "strong",
    }
    return RpcTransport(
        recommend_documents=[match | {"score": 0.7, "closest": 0, "duplicates": []}],
        active_model=[{"name": "colours", "dimensions": 4}],
        match_documents=[match],
        search_documents=[match | {"score": 1.4, "found_by": ["image", "name"], "duplicates": []}],
        get_embeddings=[],
        object_states=[{"name": "a.png", "object_id": "7", "state": "searchable", "reason": None}],
    )


@pytest.fixture
def storage() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        rows = [{"error": None, "path": "a/1.png", "signedURL": "/object/sign/images/a/1.png?token=t"}]
        mock.post(f"{STORAGE}/sign/images", json=rows)
        mock.post(f"{STORAGE}/images/a.png", json={"Key": "images/a.png", "Id": "7"})
        yield mock


@pytest.fixture
def client(
    serve: Callable[..., Flask], postgrest: RpcTransport, storage: responses.RequestsMock
) -> FlaskClient:
    return serve("query", postgrest, SUPABASE_SECRET_KEY="").test_client()


def file(data: bytes = RED) -> tuple[io.BytesIO, str]:
    return io.BytesIO(data), "picture.png"


def asked(postgrest: RpcTransport) -> dict[str, Any]:
    [arguments] = postgrest.called("match_documents") or postgrest.called("search_documents")
    return arguments


@pytest.mark.parametrize("path", ["/", "/query", "/query/"])
def test_a_search_answers_model_and_results(client: FlaskClient, path: str):
    answer = client.post(path, json={"text": "red"})
    assert answer.status_code == 200
    assert answer.json == {
        "model": "colours",
        "results": [
            {
                "id": 1,
                "bucket": "images",
                "name": "a/1.png",
                "content": "a/1.png",
                "similarity": 0.9,
                "confidence": "strong",
                "found_by": ["image", "name"],
                "closest": {"field": "text", "index": 0},
                "url": f"{STORAGE}/sign/images/a/1.png?token=t",
                "preview": "preview?bucket=images&name=a%2F1.png&token=t",
                "metadata": {"title": "One"},
                "duplicates": [],
            }
        ],
        "next_cursor": None,
        "notice": None,
    }


def test_results_are_held_back_only_on_request(client: FlaskClient, postgrest: RpcTransport):
    client.post("/", json={"text": "red"})
    client.post("/", json={"text": "red", "best_confidence": "related"})
    first, second = postgrest.called("search_documents")
    assert not first.keys() & {"best_confidence", "min_confidence"}
    assert (first["similarity_threshold"], second["best_confidence"]) == (-2, "related")


def test_examples_of_every_kind_are_taken_with_weights(client: FlaskClient, postgrest: RpcTransport):
    image = base64.b64encode(RED).decode()
    answer = client.post("/", json={"like": [7, {"text": "lime", "weight": 2}], "unlike": {"image": image}})
    assert answer.status_code == 200
    [asked] = postgrest.called("recommend_documents")
    assert asked["likes"][0] == {"id": 7, "weight": 1}
    assert asked["likes"][1]["weight"] == 2
    assert np.allclose(asked["unlikes"][0]["embedding"], ColourEmbedder().embed_texts(["red"])[0])


@pytest.mark.parametrize(
    "request_", [{"json": {"text": "red"}}, {"data": RED, "content_type": "image/png"}], ids=["text", "image"]
)
def test_a_vector_is_what_a_search_would_search_by(
    client: FlaskClient, postgrest: RpcTransport, request_: dict[str, Any]
):
    answer = client.post("/vector", **request_)
    assert (answer.status_code, answer.json["model"], answer.json["dimensions"]) == (200, "colours", 4)
    client.post("/", **request_)
    assert np.allclose(answer.json["vector"], asked(postgrest)["query_embedding"])


@pytest.mark.parametrize("body", [{"text": ["red", "lime"]}, {"like": 7}, {"text": "red", "unlike": 7}])
def test_a_vector_is_made_of_one_text_or_image(client: FlaskClient, body: dict[str, Any]):
    assert refused(client.post("/vector", json=body)) == (400, "invalid-query")


def test_a_page_leads_to_the_next(client: FlaskClient, postgrest: RpcTransport):
    cursor = client.post("/", json={"text": "red", "limit": 1}).json["next_cursor"]
    again = client.post("/", json={"text": "red", "limit": 1, "cursor": cursor})
    assert again.status_code == 200
    _, asked = postgrest.called("search_documents")
    assert asked["page_after"] == {"score": 1.4, "id": 1, "rank": 1}


WAYS: dict[str, dict[str, Any]] = {
    "json": {"json": {"image": base64.b64encode(RED).decode(), "limit": 5, "filter": {"bucket": "images"}}},
    "multipart": {"data": {"image": file(), "limit": "5", "filter": '{"bucket": "images"}'}},
    "raw": {"data": RED, "content_type": "image/png", "query_string": {"limit": "5", "bucket": "images"}},
}


@pytest.mark.parametrize("way", WAYS)
def test_an_image_can_be_sent_in_three_ways_that_mean_the_same(
    client: FlaskClient, postgrest: RpcTransport, way: str
):
    request = dict(WAYS[way])
    if way == "multipart":
        request["data"] = {**request["data"], "image": file()}
    assert client.post("/", **request).status_code == 200
    arguments = asked(postgrest)
    assert np.allclose(arguments["query_embedding"], ColourEmbedder().embed_texts(["red"])[0])
    assert (arguments["match_count"], arguments["filter"]) == (5, {"bucket": "images"})


BASE64 = base64.b64encode(RED).decode()
FORMS: dict[str, dict[str, Any]] = {
    "bytes of an unknown kind": {"data": RED, "content_type": "application/octet-stream"},
    "a data URL": {"json": {"image": f"data:image/png;base64,{BASE64}"}},
    "a data URL with parameters": {"json": {"like": {"image": f"DATA:image/png;a=b;base64,{BASE64}"}}},
    "lines": {"json": {"image": base64.encodebytes(RED).decode()}},
    "lines of a mail": {"json": {"image": base64.encodebytes(RED).decode().replace("\n", "\r\n")}},
    "JSON as text": {"data": json.dumps({"image": BASE64}), "content_type": "text/plain;charset=UTF-8"},
    "JSON as bytes": {
        "data": b"\xef\xbb\xbf\n" + json.dumps({"image": BASE64}).encode(),
        "content_type": "application/octet-stream",
    },
    "JSON as curl sends it": {
        "data": json.dumps({"image": BASE64}),
        "content_type": "application/x-www-form-urlencoded",
    },
    "JSON of nothing told": {"data": json.dumps({"image": BASE64})},
    "JSON with escapes": {"data": json.dumps({"image": BASE64}).replace("/", "\\/").replace("+", "\\u002B")},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_image_is_understood_as_clients_send_it(
    client: FlaskClient, postgrest: RpcTransport, form: dict[str, Any]
):
    answer = client.post("/", **form)
    assert answer.status_code == 200, answer.data
    assert np.allclose(asked_vector(postgrest), ColourEmbedder().embed_texts(["red"])[0])


def asked_vector(postgrest: RpcTransport) -> Any:
    called = postgrest.called("match_documents") or postgrest.called("recommend_documents")
    [arguments] = called
    return arguments["query_embedding"]


def test_the_methods_of_a_path_are_told_with_the_refusal(client: FlaskClient):
    for path, allowed in (
        ("/", "GET, POST, HEAD, OPTIONS"),
        ("/query", "POST, OPTIONS"),
        ("/live", "GET, HEAD, OPTIONS"),
    ):
        answer = client.delete(path)
        assert refused(answer) == (405, "method-not-allowed")
        assert answer.headers["Allow"] == allowed
        assert client.options(path).headers["Allow"] == allowed
    assert "POST" in client.open("/", method="PROPFIND").headers["Allow"]


@pytest.mark.parametrize("path", ["/", "/embeddings"])
def test_a_body_of_unannounced_length_that_is_too_large_is_refused_whatever_it_holds(
    client: FlaskClient, path: str
):
    answer = client.post(
        path,
        input_stream=io.BytesIO(b"x" * 600_000),
        content_type="application/octet-stream",
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )
    assert refused(answer) == (413, "payload-too-large")
    assert answer.json["detail"] == "The request's body is too large. Send less."


@pytest.mark.parametrize(
    "header", ["x-retry-count", "traceparent", "tracestate", "sentry-trace", "baggage", "x-region"]
)
def test_a_browser_may_send_what_clients_and_tracing_libraries_add(client: FlaskClient, header: str):
    wanted = f"authorization,{header}"
    answer = client.options(
        "/", headers={"Origin": "https://app.test", "Access-Control-Request-Headers": wanted}
    )
    assert answer.headers["Access-Control-Allow-Headers"] == wanted


def test_an_answers_head_grows_by_no_more_than_that(client: FlaskClient):
    answer = client.options("/", headers={"Access-Control-Request-Headers": "x" * 8000})
    assert len(str(answer.headers)) < 2000


def test_a_form_needs_no_image(client: FlaskClient, postgrest: RpcTransport):
    answer = client.post("/", data={"text": "red"}, content_type="multipart/form-data")
    assert answer.status_code == 200


MULTIPART = {"content_type": "multipart/form-data"}


def refused(answer: TestResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= set(answer.json)
    assert answer.json["status"] == answer.status_code
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    return answer.status_code, answer.json["type"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"json": {}}, (400, "invalid-query")),
        ({"json": {"text": "red", "limit": 0}}, (400, "invalid-limit")),
        ({"json": {"text": "red", "limit": 10_001}}, (400, "invalid-limit")),
        ({"json": {"text": "red", "limit": -1}}, (400, "invalid-limit")),
        ({"json": {"text": "red", "cursor": "forged"}}, (400, "invalid-cursor")),
        ({"json": {"text": "red", "words": 1.5}}, (400, "invalid-words")),
        ({"json": {"text": "red", "words": "0.5"}}, (400, "invalid-words")),
        ({"json": {"text": ["red", "blue"], "words": 0.5}}, (400, "invalid-words")),
        ({"json": {"like": 7, "words": 0.5}}, (400, "invalid-words")),
        ({"json": {"text": "red", "unlike": 7, "words": 0}}, (400, "invalid-words")),
        ({"json": {"text": "red", "cursor": ""}}, (400, "invalid-query")),
        ({"json": {"text": "red", "offset": 300, "diversity": 1}}, (400, "invalid-limit")),
        ({"json": {"like": {"id": 7, "weight": 0}}}, (400, "invalid-query")),
        ({"json": {"text": "red", "colour": "x"}}, (400, "invalid-query")),
        ({"json": {"text": "red", "filter": {"colour": "x"}}}, (400, "invalid-filter")),
        ({"json": {"like": "7.png"}}, (404, "object-not-found")),
        ({"json": {"image": "!"}}, (400, "invalid-query")),
        ({"json": {"image": base64.b64encode(b"<svg/>").decode()}}, (422, "not-an-image")),
        ({"json": {"image": ""}}, (422, "empty-image")),
        ({"json": {"image": base64.b64encode(RED[:-30]).decode()}}, (422, "incomplete-image")),
        ({"data": b"", "content_type": "application/json"}, (400, "invalid-query")),
        ({"data": b"red", "content_type": "text/plain"}, (400, "invalid-query")),
        ({"data": b"red", "content_type": "application/octet-stream"}, (422, "not-an-image")),
        ({"data": b"text=red", "content_type": "application/x-www-form-urlencoded"}, (400, "invalid-query")),
        ({"json": {"text": "red", "x": ["y" * 1000] * 300}}, (413, "payload-too-large")),
        ({"json": {"text": ["x" * 20_000] * 9}}, (413, "payload-too-large")),
        ({"json": {"text": "x" * 20_000}}, (400, "invalid-query")),
        ({"json": {"x" * 20_000: "red"}}, (400, "invalid-query")),
        ({"query_string": {"text": "x" * 70_000}, "data": RED}, (413, "payload-too-large")),
        ({"data": {"text": "x" * 300_000}, **MULTIPART}, (413, "payload-too-large")),
        ({"data": {"like": ["7"] * 101}, **MULTIPART}, (413, "payload-too-large")),
        ({"data": {"like": ["7"] * 33}, **MULTIPART}, (400, "invalid-query")),
        ({}, (400, "invalid-query")),
        ({"data": b"x" * 100_001, "content_type": "image/png"}, (413, "image-too-large")),
        ({"data": b"x" * 500_000, "content_type": "image/png"}, (413, "payload-too-large")),
        ({"data": {"picture": file()}}, (400, "invalid-query")),
        ({"data": b"no form", "content_type": "multipart/form-data; boundary=x"}, (400, "invalid-query")),
    ],
)
def test_a_bad_request_has_its_own_problem(
    client: FlaskClient, request_: dict[str, Any], expected: tuple[int, str]
):
    assert refused(client.post("/", **request_)) == expected


def test_an_id_that_the_database_doesnt_show_is_told_with_the_remedy(
    client: FlaskClient, postgrest: RpcTransport
):
    hint = "Take an id from a search's results."
    told = {"code": "PT404", "message": "likes[0] is document 7, …", "details": "7", "hint": hint}
    postgrest.answers["recommend_documents"] = httpx.Response(404, json=told)
    answer = client.post("/", json={"like": 7})
    assert refused(answer) == (404, "object-not-found")
    assert answer.json["value"] == "7"
    assert "document 7" in answer.json["detail"] and hint in answer.json["detail"]


def test_the_offending_value_is_named(client: FlaskClient):
    assert client.post("/", json={"text": "red", "limit": -3}).json["value"] == -3


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(401, json={"code": "PGRST301", "message": "JWT invalid"}), (401, "unauthorized")),
        (httpx.Response(401, json={"code": "PGRST303", "message": "JWT expired"}), (401, "unauthorized")),
        (httpx.Response(401, json={"message": "Invalid API key"}), (401, "unauthorized")),
        (httpx.ConnectError("refused"), (503, "database-unavailable")),
        ([], (503, "model-not-loaded")),
    ],
)
@pytest.mark.parametrize("path", ["/", "/embeddings?bucket=images&name=a.png"])
def test_nothing_of_a_body_is_looked_at_for_a_caller_who_is_not_known(
    client: FlaskClient, postgrest: RpcTransport, answer: object, expected: tuple[int, str], path: str
):
    postgrest.answers["active_model"] = answer
    bomb = {"data": b"not even an image", "content_type": "image/png"}
    assert refused(client.post(path, headers={"Authorization": "Bearer forged"}, **bomb)) == expected


def test_a_body_over_the_limit_is_refused_before_anybody_is_asked(
    client: FlaskClient, postgrest: RpcTransport
):
    assert client.post("/", data=b"x" * 500_000, content_type="image/png").status_code == 413
    assert postgrest.calls == []


def test_a_model_that_is_not_loaded_here_is_named(client: FlaskClient, postgrest: RpcTransport):
    postgrest.answers["active_model"] = [{"name": "another", "dimensions": 4}]
    assert refused(client.post("/", json={"text": "red"})) == (503, "model-not-loaded")


def test_the_database_sees_the_caller_and_only_the_caller(
    client: FlaskClient, postgrest: RpcTransport, storage: responses.RequestsMock
):
    headers = {"Authorization": "Bearer user", "apikey": "sb_publishable_theirs", "User-Agent": "Mozilla/5.0"}
    theirs = {"Origin": "http://a.test", "X-Forwarded-For": "1.2.3.4", "Cookie": "a=b", "X-Team": "red"}
    client.post("/", json={"text": "red"}, headers=headers | theirs)
    sent = [request.headers for request in postgrest.requests] + [storage.calls[0].request.headers]
    for one in sent:
        assert (one["authorization"], one["apikey"]) == ("Bearer user", "sb_publishable_theirs")
        assert "Mozilla" not in one.get("user-agent", "")
        assert not {name.lower() for name in theirs} & {name.lower() for name in one}


def test_a_caller_without_any_key_is_anon(client: FlaskClient, postgrest: RpcTransport):
    client.post("/", json={"text": "red"})
    assert {request.headers["authorization"] for request in postgrest.requests} == {
        "Bearer sb_publishable_ours"
    }


@pytest.mark.parametrize("path", ["/", "/query", "/embeddings", "/vector", "/live"])
def test_a_browser_may_ask_from_anywhere(client: FlaskClient, path: str):
    answer = client.options(path, headers={"Origin": "https://app.test"})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    "request_",
    [
        {"data": {"bucket": "images", "name": "a.png"}, "content_type": "multipart/form-data"},
        {"query_string": {"bucket": "images", "name": "a.png"}, "data": RED, "content_type": "image/png"},
    ],
    ids=["multipart", "raw"],
)
def test_an_upload_is_stored_as_the_caller(
    client: FlaskClient, storage: responses.RequestsMock, request_: dict[str, Any]
):
    if isinstance(request_["data"], dict):
        request_ = {**request_, "data": {**request_["data"], "image": file()}}
    answer = client.post("/embeddings", headers={"Authorization": "Bearer user"}, **request_)
    assert answer.status_code == 202
    assert answer.json == {
        "bucket": "images",
        "name": "a.png",
        "object_id": "7",
        "state": "pending",
        "reason": None,
    }
    [call] = storage.calls
    assert call.request.headers["Authorization"] == "Bearer user"
    assert call.request.headers["x-upsert"] == "false"
    assert b"Content-Type: image/png" in call.request.body


def send(client: FlaskClient, **fields: Any) -> TestResponse:
    data = {"image": file(), "bucket": "images", "name": "a.png", **fields}
    return client.post("/embeddings?wait=1", data=data)


@pytest.mark.parametrize(
    ("state", "reason", "status"),
    [("searchable", None, 201), ("failed", "BrokenImage: …", 202), ("ignored", "not indexed", 202)],
)
def test_waiting_answers_with_what_became_of_the_upload(
    client: FlaskClient, postgrest: RpcTransport, state: str, reason: str | None, status: int
):
    row = {"name": "a.png", "object_id": "7", "state": state, "reason": reason}
    postgrest.answers["object_states"] = [row]
    answer = send(client)
    assert (answer.status_code, answer.json["state"], answer.json["reason"]) == (status, state, reason)


def test_an_upload_that_waits_holds_no_image(client: FlaskClient, postgrest: RpcTransport):
    """Its share of the memory for all bodies has been given back."""
    held = []

    def state(_: Any) -> Any:
        held.extend(one for one in gc.get_objects() if isinstance(one, Upload))
        return [{"name": "a.png", "object_id": "7", "state": "searchable", "reason": None}]

    postgrest.answers["object_states"] = state
    assert send(client).status_code == 201
    assert held == []


def test_more_uploads_than_may_wait_at_once_are_soon_answered_pending(
    serve: Callable[..., Flask], postgrest: RpcTransport, storage: responses.RequestsMock
):
    app = serve("query", postgrest)
    app.extensions["watchers"] = ConcurrencyLimiter(running=0, waiting=0)
    postgrest.answers["object_states"] = [
        {"name": "a.png", "object_id": "7", "state": "pending", "reason": None}
    ]
    answer = send(app.test_client())
    assert (answer.status_code, answer.json["state"]) == (202, "pending")
    assert (
        len(postgrest.called("object_states")) <= 6
    )  # as many as fit into a second; into the full wait some thirty


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"statusCode": "409", "error": "Duplicate", "message": "exists"}, (409, "object-exists")),
        ({"statusCode": "403", "error": "Unauthorized", "message": "policy"}, (403, "storage-forbidden")),
        ({"statusCode": "404", "error": "Bucket not found", "message": "no"}, (404, "object-not-found")),
        ({"statusCode": "400", "error": "InvalidKey", "message": "Invalid key"}, (400, "storage-refused")),
    ],
)
def test_storages_refusal_of_an_upload_is_passed_on(
    client: FlaskClient, storage: responses.RequestsMock, body: dict[str, str], expected: tuple[int, str]
):
    storage.replace("POST", f"{STORAGE}/images/a.png", status=400, json=body)
    assert refused(send(client)) == expected


def test_an_upload_that_is_refused_stores_nothing(client: FlaskClient, storage: responses.RequestsMock):
    data = {"image": file(), "bucket": "images", "name": "a.png"}
    assert refused(client.post("/embeddings?wait=perhaps", data=data)) == (400, "invalid-query")
    assert len(storage.calls) == 0


@pytest.mark.parametrize(
    "fields", [{"bucket": ""}, {"name": "/"}, {"name": ["a.png", "b.png"]}, {"upsert": "perhaps"}]
)
def test_an_upload_that_makes_no_sense_is_refused(client: FlaskClient, fields: dict[str, Any]):
    assert refused(send(client, **fields)) == (400, "invalid-query")


def test_neither_searches_nor_uploads_decode_more_images_than_there_are_places_for(
    serve: Callable[..., Flask], postgrest: RpcTransport, storage: responses.RequestsMock
):
    app = serve("query", postgrest)
    app.extensions["file_limiter"] = ConcurrencyLimiter(running=0, waiting=0)
    client = app.test_client()
    assert refused(send(client)) == (503, "busy")
    assert refused(client.post("/", data=RED, content_type="image/png")) == (503, "busy")
    assert len(storage.calls) == 0


def test_pages_and_live_are_answered_while_callers_have_all_places(
    serve: Callable[..., Flask], postgrest: RpcTransport
):
    app = serve("query", postgrest)
    app.extensions["callers"] = ConcurrencyLimiter(running=0, waiting=0)
    client = app.test_client()
    for path in ("/", "/query", "/embeddings", "/vector"):
        assert refused(client.post(path, json={"text": "red"})) == (503, "busy")
    assert refused(client.get("/health")) == (503, "busy")
    assert {client.get(path).status_code for path in ("/", "/live", "/docs/")} == {200}


def test_it_takes_no_secret_key_from_its_environment(
    serve: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
):
    """Taken over, it has none."""
    monkeypatch.setenv("SUPABASE_URL", "http://supabase.test")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_beside_it")
    app = serve("query")
    del app.extensions["settings"]
    assert app.test_client().get("/").status_code == 200
    assert app.extensions["settings"].supabase_url == "http://supabase.test"
    assert app.extensions["settings"].secret_key == ""


def test_texts_are_embedded_while_images_have_all_places_for_decoding(
    serve: Callable[..., Flask], postgrest: RpcTransport
):
    """Six small requests, whose images take 20 seconds each to decode, kept all searches from everybody."""
    app = serve("query", postgrest)
    app.extensions["file_limiter"] = ConcurrencyLimiter(running=0, waiting=0)
    assert app.test_client().post("/", json={"text": "red"}).status_code == 200


def test_small_bodies_do_not_wait_behind_large_ones_that_are_parsed(
    serve: Callable[..., Flask], postgrest: RpcTransport
):
    """Six connections of refused forms kept all searches from everybody."""
    app = serve("query", postgrest)
    app.extensions["parsing"] = ConcurrencyLimiter(running=0, waiting=0)
    client = app.test_client()
    assert client.post("/", json={"text": "red"}).status_code == 200
    assert client.post("/", data=RED, content_type="image/png").status_code == 200
    assert refused(client.post("/", data=RED + bytes(70_000), content_type="image/png")) == (503, "busy")


def test_all_callers_who_are_at_work_may_wait_for_their_large_bodies_to_be_parsed(
    serve: Callable[..., Flask], postgrest: RpcTransport
):
    app = serve("query", postgrest)
    body = {"data": b'{"text": "red"' + b" " * 70_000 + b"}", "content_type": "application/json"}
    assert app.test_client().post("/", **body).status_code == 200
    parsing = app.extensions["parsing"]
    with ThreadPoolExecutor(handlers.CALLERS_AT_WORK - 1) as threads:
        with parsing.enter():
            asked = [threads.submit(app.test_client().post, "/", **body) for _ in range(15)]
            eventually(lambda: parsing.inside == 16)
        assert {one.result().status_code for one in asked} == {200}


def test_an_upload_needs_an_image(client: FlaskClient):
    answer = client.post("/embeddings", data={"bucket": "images"}, content_type="multipart/form-data")
    assert refused(answer) == (400, "invalid-query")


def test_the_page_may_run_only_its_own_scripts_and_show_storages_pictures(client: FlaskClient):
    answer = client.get("/")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert set(answer.headers["Content-Security-Policy"].split("; ")) == {
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self' http://supabase.test",
        "img-src 'self' data: blob: http://supabase.test",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    }


@pytest.mark.parametrize(
    "path", ["/", *(path for path in pages.ROUTES if path != "/docs"), "/docs/", "/live"]
)
def test_each_answer_sends_no_referrer_and_is_taken_for_nothing_else(client: FlaskClient, path: str):
    """A signed URL is a key, and a page's address holds its search."""
    answer = client.get(path)
    assert answer.status_code == 200
    headers = answer.headers
    assert (headers["Referrer-Policy"], headers["X-Content-Type-Options"]) == ("no-referrer", "nosniff")
    if answer.mimetype != "application/json":
        assert headers["Content-Security-Policy"] == client.get("/").headers["Content-Security-Policy"]


def test_large_bodies_hold_together_what_four_of_the_longest_take(client: FlaskClient):
    longest = 100_000 * 4 // 3 + 256 * 1024
    image = {"content_type": "image/png", "data": RED + bytes(90_000)}
    assert client.post("/", **image).status_code == 200
    with client.application.extensions["memory"].share() as take:
        take(4 * longest - 95_000)
        assert client.post("/", **image).status_code == 200
        take(10_000)
        assert refused(client.post("/", **image)) == (503, "busy")


def test_the_page_is_sent_compressed_and_only_when_it_changed(client: FlaskClient):
    answer = client.get("/page.css", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(answer.data) == (CHECKOUT / "functions/query/built/page.css").read_bytes()
    again = client.get(
        "/page.css", headers={"Accept-Encoding": "gzip", "If-None-Match": answer.headers["ETag"]}
    )
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_is_shown_in_frames_of_the_origins_that_the_operator_names(serve: Callable[..., Flask]):
    origins = "https://app.example.com, http://localhost:3000"
    answer = serve("query", PAGE_FRAME_ORIGINS=origins).test_client().get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors https://app.example.com http://localhost:3000")


def test_the_page_learns_the_public_settings_alone(client: FlaskClient):
    told = client.get("/config.json").json
    assert set(told) == {"supabase_url", "publishable_key"}
    assert told["supabase_url"] == "http://supabase.test"


def test_every_file_of_the_page_is_served_and_nothing_beside_it(client: FlaskClient):
    folder = CHECKOUT / "functions/query"
    built, own = ("page.js", "page.css"), ("index.html", "view.js", "vendor/block.js")
    for path, name in [(f"built/{name}", name) for name in built] + [(f"page/{name}", name) for name in own]:
        answer = client.get(f"/{name}")
        assert (answer.status_code, answer.data) == (200, (folder / path).read_bytes())
    assert client.get("/page.js").mimetype == "text/javascript"
    for elsewhere in (
        "/main.py",
        "/../main.py",
        "/%2e%2e/main.py",
        "/page/page.js",
        "/api.js",
        "/vendor/README.md",
    ):
        assert client.get(elsewhere).status_code == 404


def test_live_health_and_metrics(client: FlaskClient):
    assert client.get("/live").json == {"status": "ok"}
    assert client.get("/health").json["database"] == {"status": "ok", "active_model": "colours"}
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"x-webhook-secret": "the-current-secret"}).status_code == 200


def test_a_missing_setting_is_named(serve: Callable[..., Flask]):
    client = serve("query", SUPABASE_URL="", LOCAL_DATA="/nowhere").test_client()
    answer = client.post("/", json={"text": "red"})
    assert refused(answer) == (500, "settings-error")
    assert "SUPABASE_URL" in answer.json["detail"]


def test_a_function_without_a_publishable_key_asks_for_the_callers(serve: Callable[..., Flask]):
    client = serve("query", SUPABASE_PUBLISHABLE_KEY="").test_client()
    answer = client.post("/", json={"text": "red"})
    assert refused(answer) == (401, "unauthorized")
    assert "apikey" in answer.json["detail"]


def test_a_log_that_cant_be_written_fails_no_request(
    client: FlaskClient, postgrest: RpcTransport, monkeypatch: pytest.MonkeyPatch
):
    def full(_text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stderr.write", full)
    postgrest.answers["active_model"] = httpx.ConnectError("refused")
    assert refused(client.post("/", json={"text": "red"})) == (503, "database-unavailable")


def test_json_says_what_it_is(client: FlaskClient):
    answer = client.post("/", json={"text": "red"})
    assert json.loads(answer.data) and answer.content_type == "application/json"


def test_a_standby_that_cant_be_loaded_is_named_by_health_and_no_reason_for_a_restart(
    serve: Callable[..., Flask], postgrest: RpcTransport
):
    def load(name: str) -> ColourEmbedder:
        if name == "standby":
            raise ModelBroken("standby is cut off.")
        return ColourEmbedder(name)

    client = serve("query", postgrest, load=load, EMBEDDING_MODELS="colours,standby").test_client()
    assert client.get("/live").status_code == 200
    health = client.get("/health")
    assert health.status_code == 200
    embedding = health.json["embedding"]
    assert (embedding["models"], embedding["failing"]) == (["colours"], {"standby": ModelBroken.default()})
    postgrest.answers["active_model"] = [{"name": "standby", "dimensions": 4}]
    health = client.get("/health")
    assert (health.status_code, health.json["embedding"]["status"]) == (503, "failing")
    assert health.json["embedding"]["models"] == ["colours"]
    assert client.get("/live").status_code == 200


@pytest.mark.parametrize("path", ["/live", "/health"])
def test_probes_of_a_model_that_cant_be_loaded_cost_no_more_from_time_to_time(
    path: str, serve: Callable[..., Flask], postgrest: RpcTransport, capsys: pytest.CaptureFixture[str]
):
    def load(name: str) -> ColourEmbedder:
        raise LookupError(name)

    client = serve("query", postgrest, load=load).test_client()
    lengths = []
    for _ in range(20):
        capsys.readouterr()
        assert client.get(path).status_code >= 500
        lengths.append(len(capsys.readouterr().err))
    assert lengths[1] == lengths[-1]


def test_an_answer_names_its_request_as_its_log_does(
    client: FlaskClient, postgrest: RpcTransport, capsys: pytest.CaptureFixture[str]
):
    postgrest.answers["active_model"] = httpx.ConnectError("refused")
    named = client.post("/", json={"text": "red"}, headers={"x-request-id": "from-the-proxy"})
    unnamed = client.post("/", json={"text": "red"})
    logged = [json.loads(line)["request_id"] for line in capsys.readouterr().err.splitlines()]
    told = [answer.headers["x-request-id"] for answer in (named, unnamed)]
    assert logged == told and told[0] == "from-the-proxy" != told[1]
    # The framework answers the second without asking us: it isn't told whose request the thread had before.
    assert not {client.get(path).headers["x-request-id"] for path in ("/favicon.ico", "/live")} & {*told}


@pytest.fixture
def restored_level() -> Iterator[None]:
    """The log is the process's, other tests' too."""
    yield
    logs.set_level("info")


@pytest.mark.usefixtures("restored_level")
@pytest.mark.parametrize(
    ("body", "way"),
    [
        ({"text": "red"}, "search_documents"),
        ({"image": base64.b64encode(RED).decode()}, "match_documents"),
        ({"like": 7, "text": "red"}, "recommend_documents"),
    ],
)
@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_search_logs_one_line_at_debug_level_and_none_of_its_words(
    serve: Callable[..., Flask],
    postgrest: RpcTransport,
    storage: responses.RequestsMock,
    capsys: pytest.CaptureFixture[str],
    level: str,
    body: dict[str, Any],
    way: str,
):
    client = serve("query", postgrest, SUPABASE_SECRET_KEY="", LOG_LEVEL=level).test_client()
    narrow = {"prefix": "secret/"}
    client.post("/", json=body | {"limit": 5, "filter": narrow}, headers={"x-request-id": "traced"})
    lines = capsys.readouterr().err.splitlines()
    if level == "info":
        assert lines == []
        return
    line = json.loads(lines.pop())
    assert lines == [] and "secret" not in str(line) and "red" not in str(line["examples"])
    assert (line["severity"], line["event"], line["request_id"]) == ("DEBUG", "searched", "traced")
    assert (line["way"], line["looked_at"], line["found"], line["best"]) == (way, 5, 1, 0.9)
    assert [*line["ms"]] == ["names", "embed", "match", "sign"]
    assert (line["filter"], line["examples"]) == (["prefix"], len(body))


@pytest.mark.parametrize("server", ["gunicorn", "werkzeug"])
@pytest.mark.parametrize("hangs_up", [True, False])
def test_an_image_is_decoded_only_while_its_caller_waits(client: FlaskClient, server: str, hangs_up: bool):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"GET /live")  # the beginning of the next request: it tells nothing of this one
        if hangs_up:
            theirs.close()
        environ = {f"{server}.socket": ours}
        answer = client.post("/", data=RED, content_type="image/png", environ_overrides=environ)
    assert (answer.status_code, answer.json.get("type")) == (
        (499, "client-closed-request") if hangs_up else (200, None)
    )


def test_the_images_of_one_search_share_one_budget(client: FlaskClient):
    image = base64.b64encode(picture("red", (2500, 2000))).decode()  # some hundredths of a second
    mine = client.application.extensions["settings"]
    client.application.extensions["settings"] = replace(mine, max_decode_seconds=0.03)  # type: ignore[arg-type]
    answer = client.post("/", json={"image": [image] * 4})
    assert (answer.status_code, answer.json.get("type")) == (422, "decoding-timed-out")
    assert client.post("/", json={"text": "red"}).status_code == 200
