"""Nonsense, mistakes and attacks get their problem, the value and the remedy: never a 500."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import jwt
import pytest
from support import lookups, scenario
from support.lookups import Caller
from support.running_project import DIMENSIONS, MODEL, Running

from shared.runtime.model_registry import ModelRegistry
from shared.search import json_body
from shared.testing import ColourEmbedder

DEEP = 100_000  # levels; a recursive parser ends long before
PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}
ROUTES = ("query", "query/query", "query/embeddings?bucket=images&name=a.png")


@pytest.fixture(scope="module")
def anon(project: Running) -> Caller:
    return lookups.caller(project, "anon")


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and type of an answer that is a whole problem (RFC 9457)."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    assert {"type", "title", "status", "detail"} <= set(told)
    assert told["status"] == answer.status_code
    assert len(told["detail"]) < 1000
    return answer.status_code, told["type"]


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


BODIES = {
    "nothing": b"",
    "no JSON": b"red",
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "cut off": b'{"text": "re',
    "no UTF-8": b'{"text": "\xff\xfe"}',
    "two objects": b'{"text": "red"}{"text": "red"}',
    "deep lists": b"[" * DEEP,
    "a deep text": f'{{"text": {"[" * DEEP}{"]" * DEEP}}}'.encode(),
    "a deep filter": f'{{"text": "red", "filter": {deep(DEEP // 4)}}}'.encode(),
    "a number of many digits": b'{"text": "red", "limit": ' + b"1" * 10_000 + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_query_is_refused(anon: Caller, body: bytes):
    answer = anon.post("/functions/v1/query", content=body, headers=JSON)
    assert problem(answer) == (400, "invalid-query")


INVALID = (400, "invalid-query")
LIMIT, FILTER, CURSOR = (400, "invalid-limit"), (400, "invalid-filter"), (400, "invalid-cursor")
FIELDS: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({"text": ""}, INVALID),
    ({"text": " "}, INVALID),
    ({"text": 7}, INVALID),
    ({"text": {"a": 1}}, INVALID),
    ({"text": "x" * 1001}, INVALID),
    ({"text": "a\0b"}, INVALID),
    ({"text": "a\ud800b"}, INVALID),
    ({"text": ["red"] * 33}, INVALID),
    ({"limit": 0}, LIMIT),
    ({"limit": -1}, LIMIT),
    ({"limit": 10_001}, LIMIT),
    ({"limit": 1.5}, LIMIT),
    ({"limit": "10"}, LIMIT),
    ({"limit": True}, LIMIT),
    ({"offset": -1}, LIMIT),
    ({"offset": 10**9}, LIMIT),
    ({"min_similarity": 2}, INVALID),
    ({"min_similarity": float("nan")}, INVALID),
    ({"min_similarity": float("inf")}, INVALID),
    ({"min_similarity": 10**400}, INVALID),
    ({"min_similarity": "0.5"}, INVALID),
    ({"min_confidence": "certain"}, INVALID),
    ({"min_confidence": 1}, INVALID),
    ({"best_confidence": "certain"}, INVALID),
    ({"words": -0.1}, (400, "invalid-words")),
    ({"words": "1"}, (400, "invalid-words")),
    ({"strategy": "guess"}, INVALID),
    ({"strategy": []}, INVALID),
    ({"diversity": -0.1}, INVALID),
    ({"diversity": 1.1}, INVALID),
    ({"diversity": float("nan")}, INVALID),
    ({"diversity": 10**400}, INVALID),
    ({"collapse": "all"}, INVALID),
    ({"cursor": "nonsense"}, CURSOR),
    ({"cursor": ""}, INVALID),
    ({"cursor": 7}, INVALID),
    ({"cursor": base64.urlsafe_b64encode(b'{"similarity": NaN, "id": "x"}').decode()}, CURSOR),
    ({"cursor": base64.urlsafe_b64encode(b"[]").decode()}, CURSOR),
    ({"cursor": base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode()}, CURSOR),
    ({"like": 999_999}, (404, "object-not-found")),
    ({"like": "images/none.png"}, (404, "object-not-found")),
    ({"like": {"id": 999_999}}, (404, "object-not-found")),
    ({"unlike": {"name": "images/none.png"}}, (404, "object-not-found")),
    ({"like": 0}, INVALID),
    ({"like": -1}, INVALID),
    ({"like": 2**63}, INVALID),
    ({"like": True}, INVALID),
    ({"like": 1.5}, INVALID),
    ({"like": ""}, INVALID),
    ({"like": "a\0b"}, INVALID),
    ({"like": "\ud800"}, INVALID),
    ({"like": [[1]]}, INVALID),
    ({"like": {}}, INVALID),
    ({"like": {"id": 1, "name": "a.png"}}, INVALID),
    ({"like": {"name": "a.png", "colour": "red"}}, INVALID),
    ({"like": {"name": ["a.png"]}}, INVALID),
    ({"like": {"text": "red", "weight": 0}}, INVALID),
    ({"like": {"text": "red", "weight": -1}}, INVALID),
    ({"like": {"text": "red", "weight": float("nan")}}, INVALID),
    ({"like": {"text": "red", "weight": 10**400}}, INVALID),
    ({"like": {"text": "red", "weight": "2"}}, INVALID),
    ({"like": {"image": "!"}}, INVALID),
    ({"like": {"image": 7}}, INVALID),
    ({"image": "!"}, INVALID),
    ({"image": 7}, INVALID),
    ({"image": ""}, (422, "empty-image")),
    ({"image": base64.b64encode(b"<svg/>").decode()}, (422, "not-an-image")),
    ({"colour": "red"}, INVALID),
    ({"filter": []}, FILTER),
    ({"filter": "images"}, FILTER),
    ({"filter": {"colour": "red"}}, FILTER),
    ({"filter": {"bucket": 7}}, FILTER),
    ({"filter": {"bucket": "a\0b"}}, FILTER),
    ({"filter": {"prefix": "\udfff"}}, FILTER),
    ({"filter": {"prefix": ["a/"]}}, FILTER),
    ({"filter": {"mime_type": 7}}, FILTER),
    ({"filter": {"mime_type": [7]}}, FILTER),
    ({"filter": {"mime_type": {}}}, FILTER),
    ({"filter": {"min_bytes": "1"}}, FILTER),
    ({"filter": {"min_bytes": -1}}, FILTER),
    ({"filter": {"max_bytes": 1.5}}, FILTER),
    ({"filter": {"max_bytes": 10**30}}, FILTER),
    ({"filter": {"uploaded_after": "yesterday evening"}}, FILTER),
    ({"filter": {"uploaded_before": 7}}, FILTER),
    ({"filter": {"uploaded_before": "2026-13-45"}}, FILTER),
    ({"filter": {"owner": 7}}, FILTER),
    ({"filter": {"metadata": "x"}}, FILTER),
    ({"filter": {"metadata": []}}, FILTER),
    ({"filter": {"metadata": {"a": float("nan")}}}, FILTER),
    ({"filter": {"metadata": {"a": "\0"}}}, FILTER),
    ({"filter": {"metadata": {"a": ["\ud800"]}}}, FILTER),
    ({"filter": {"metadata": {"\0": 1}}}, FILTER),
]


@pytest.mark.parametrize(("fields", "expected"), FIELDS, ids=lambda value: f"{value!r:.60}")
def test_a_field_that_makes_no_sense_is_named(
    anon: Caller, fields: dict[str, Any], expected: tuple[int, str]
):
    """Beside a text that alone would be answered."""
    body = json.dumps({"text": "red", **fields})
    answer = anon.post("/functions/v1/query", content=body, headers=JSON)
    assert problem(answer) == expected
    if expected[0] == 400:
        assert next(iter(fields)) in answer.json()["detail"]


@pytest.mark.parametrize("levels", [100, 400, 900, 3000, 20_000])
def test_metadata_of_any_depth_is_searched_for_or_refused(anon: Caller, levels: int):
    body = f'{{"text": "red", "filter": {{"metadata": {deep(levels)}}}}}'
    answer = anon.post("/functions/v1/query", content=body, headers=JSON)
    assert answer.status_code == 200 or problem(answer) in (INVALID, FILTER)


@pytest.mark.parametrize("levels", [100, 400, 900, 950, 980, 3000])
@pytest.mark.parametrize("field", ["text", "limit", "like", "filter", "min_similarity", "cursor"])
def test_a_value_of_any_depth_is_refused(anon: Caller, field: str, levels: int):
    body = f'{{"text": "red", "{field}": {deep(levels)}}}'
    assert problem(anon.post("/functions/v1/query", content=body, headers=JSON))[0] == 400


FORMS: list[dict[str, Any]] = [
    {"limit": "0"},
    {"limit": "-1"},
    {"limit": "ten"},
    {"limit": "NaN"},
    {"limit": "[" * DEEP},
    {"filter": "[" * DEEP},
    {"filter": "{"},
    {"filter": '{"colour": "red"}'},
    {"min_similarity": "Infinity"},
    {"min_similarity": "1" * 5000},
    {"like": "9" * 19},
    {"bucket": "a\0b"},
    {"colour": "red"},
    {"text": ""},
]


@pytest.mark.parametrize("form", FORMS, ids=lambda value: f"{value!r:.60}")
def test_a_form_field_that_makes_no_sense_is_named(anon: Caller, form: dict[str, Any]):
    parts = [("text", (None, "red")), *((name, (None, value)) for name, value in form.items())]
    answer = anon.post("/functions/v1/query", files=parts)
    status, kind = problem(answer)
    assert (status, kind) in (INVALID, LIMIT, FILTER)
    assert next(iter(form)) in answer.json()["detail"]


def test_a_number_that_no_id_can_be_is_a_name(anon: Caller):
    answer = anon.post("/functions/v1/query", files=[("like", (None, "9" * 1000))])
    assert problem(answer) == (404, "object-not-found")


def test_a_body_of_another_kind_is_refused(anon: Caller):
    for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "nonsense"):
        answer = anon.post("/functions/v1/query", content=b"text=red", headers={"Content-Type": kind})
        assert problem(answer) == INVALID
    broken = {"Content-Type": "multipart/form-data"}  # without a boundary
    assert problem(anon.post("/functions/v1/query", content=b"red", headers=broken)) == INVALID


# Invariant 7: refused before any of it is decoded.
@pytest.mark.parametrize("path", ["/", "/query", "/embeddings", "/vector"])
def test_a_body_over_the_limit_is_refused(project: Running, path: str):
    app = project.apps["query"]
    most = app.extensions["settings"].max_image_bytes * 4 // 3 + json_body.MAX_BYTES
    # Not over a socket: there a client that is still sending may miss the answer.
    answer = app.test_client().post(path, data=b"\0" * (most + 1), content_type="image/png")
    assert (answer.status_code, answer.json["type"]) == (413, "payload-too-large")


def test_a_form_of_very_many_fields_is_refused(anon: Caller):
    parts = [("text", (None, "red"))] * 5000
    answer = anon.post("/functions/v1/query", files=parts)
    assert problem(answer)[0] in (400, 413)


@pytest.mark.parametrize("path", ["none", "%00", "..%2f..%2fetc%2fpasswd", "page/page.js", "a" * 4000])
def test_a_path_that_is_not_there_is_refused(anon: Caller, path: str):
    assert problem(anon.post(f"/functions/v1/query/{path}", json={})) == (404, "unknown-path")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_method_that_is_not_taken_is_refused(anon: Caller, method: str):
    answer = anon.http.request(method, "/functions/v1/query/query", json={"text": "red"})
    assert problem(answer) == (405, "method-not-allowed")


UPLOADS: list[tuple[dict[str, str], tuple[int, ...]]] = [
    ({"bucket": "", "name": "a.png"}, (400,)),
    ({"bucket": "images", "name": ""}, (400,)),
    ({"bucket": "images", "name": "/"}, (400,)),
    ({"bucket": "images", "name": "a\0b.png"}, (400,)),
    ({"bucket": "images", "name": "a\nb.png"}, (400,)),
    ({"bucket": "images", "name": "caf\xe9.png"}, (400,)),
    ({"bucket": "images", "name": "a.png", "upsert": "perhaps"}, (400,)),
    ({"bucket": "a\0b", "name": "a.png"}, (400,)),
    ({"bucket": "no-such-bucket", "name": "a.png"}, (400, 403, 404)),
    ({"bucket": "owned", "name": "a.png"}, (403,)),
    ({"bucket": "images/../owned", "name": "a.png"}, (400,)),
    ({"bucket": "..", "name": "object/owned/a.png"}, (400, 403, 404)),
    # Paths of Storage's that stand where a bucket's name would.
    ({"bucket": "sign", "name": "owned/owners.png"}, (400, 403, 404)),
    ({"bucket": "upload", "name": "sign/owned/a.png"}, (400, 403, 404)),
    ({"bucket": "list", "name": "owned"}, (400, 403, 404)),
    ({"bucket": "copy", "name": "a.png"}, (400, 403, 404)),
]


@pytest.mark.parametrize(("fields", "statuses"), UPLOADS, ids=lambda value: f"{value!r:.60}")
def test_an_upload_that_makes_no_sense_is_refused(
    anon: Caller, fields: dict[str, str], statuses: tuple[int, ...]
):
    file = ("a.png", lookups.PICTURE, "image/png")
    answer = anon.post("/functions/v1/query/embeddings", data=fields, files={"image": file})
    assert problem(answer)[0] in statuses


UPLOAD = {"bucket": "images", "name": "a.png"}


@pytest.mark.parametrize(
    ("address", "fields", "named"),
    [
        ("", {**UPLOAD, "upsrt": "true"}, "upsrt"),
        ("", {**UPLOAD, "metadata": "{}"}, "metadata"),
        ("", {**UPLOAD, "wait": "1"}, "wait"),
        ("", {**UPLOAD, "name": ["a.png", "b.png"]}, "name is given 2 times"),
        ("?wait=1&wait=0", UPLOAD, "wait is given 2 times"),
        ("?waits=1", UPLOAD, "waits"),
        ("?upsert=true", UPLOAD, "upsert stands in the address"),
        ("?bucket=images&name=a.png&upsrt=1", None, "upsrt"),
        ("?bucket=images&name=a.png&name=b.png", None, "name is given 2 times"),
    ],
)
def test_an_upload_with_a_field_that_would_not_count_is_refused(
    anon: Caller, address: str, fields: dict[str, Any] | None, named: str
):
    body: dict[str, Any] = (
        {"data": fields, "files": {"image": ("a.png", lookups.PICTURE, "image/png")}}
        if fields
        else {"content": lookups.PICTURE, "headers": {"Content-Type": "image/png"}}
    )
    answer = anon.post(f"/functions/v1/query/embeddings{address}", **body)
    assert problem(answer) == (400, "invalid-query")
    assert named in answer.json()["detail"]


@pytest.mark.parametrize("field", ["limit", "text", "bucket"])
@pytest.mark.parametrize("body", [{"json": {"text": "red"}}, {"files": {"text": (None, "red")}}], ids=str)
def test_a_field_in_the_address_beside_a_body_with_fields_is_refused(
    anon: Caller, field: str, body: dict[str, Any]
):
    answer = anon.post(f"/functions/v1/query?{field}=1", **body)
    assert problem(answer) == (400, "invalid-query")
    assert f"{field} stands in the address" in answer.json()["detail"]


@pytest.mark.parametrize(
    "beside",
    [{"limit": 3}, {"filter": {"bucket": "images"}}, {"words": 1}, {"best_confidence": "same"}],
    ids=str,
)
def test_a_vector_of_more_than_one_text_or_image_is_refused(anon: Caller, beside: dict[str, Any]):
    answer = anon.post("/functions/v1/query/vector", json={"text": "red", **beside})
    assert problem(answer) == (400, "invalid-query")


def test_a_text_is_refused_where_the_model_has_no_text_side(
    project: Running, anon: Caller, monkeypatch: pytest.MonkeyPatch
):
    blind = ColourEmbedder(MODEL, DIMENSIONS)
    blind.supports_text = False  # type: ignore[misc]
    monkeypatch.setitem(
        project.apps["query"].extensions, "models", ModelRegistry([MODEL], lambda name: blind)
    )
    if "search" in project.apps["query"].extensions:
        monkeypatch.delitem(project.apps["query"].extensions, "search")
    answer = anon.post("/functions/v1/query", json={"text": "red"})
    assert problem(answer) == (400, "text-unsupported")
    assert answer.json()["value"] == MODEL
    project.apps["query"].extensions.pop("search")


def b64(data: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


def bad_tokens(project: Running) -> dict[str, str]:
    claims = {"role": "service_role", "exp": 2**31}
    good = project.keys.mint("authenticated", {"sub": scenario.OWNER})
    head, body, signature = good.split(".")
    return {
        "expired": project.keys.mint("service_role", {}, lifetime=-3600),
        "of another secret": jwt.encode(claims, "x" * 32, "HS256"),
        "without a signature": f"{b64({'alg': 'none'})}.{b64(claims)}.",
        "another algorithm": jwt.encode(claims, project.keys.jwt_secret, "HS512"),
        "an algorithm that isn't": f"{b64({'alg': 'HS257'})}.{b64(claims)}.{signature}",
        "another's claims": f"{head}.{b64(claims)}.{signature}",
        "cut off": f"{head}.{body}",
        "no JSON": "a.b.c",
        "not yet valid": project.keys.mint("authenticated", {"sub": scenario.OWNER, "nbf": 2**31 - 1}),
        "an unknown key": "sb_secret_unknown",
        "an unknown role": project.keys.mint("nobody"),
    }


TOKENS = (
    "expired",
    "of another secret",
    "without a signature",
    "another algorithm",
    "an algorithm that isn't",
    "another's claims",
    "cut off",
    "no JSON",
    "not yet valid",
    "an unknown key",
    "an unknown role",
)


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("route", ROUTES)
def test_a_token_that_is_worth_nothing_gets_nothing(project: Running, kind: str, route: str):
    headers = {"Authorization": f"Bearer {bad_tokens(project)[kind]}", **PNG}
    answer = project.post(route, content=b"the decoder would say 422", headers=headers)
    assert problem(answer) == (401, "unauthorized")
    assert bad_tokens(project)[kind] not in answer.text


@pytest.mark.parametrize("kind", TOKENS[:-1])  # of an unknown role PostgREST says 400
def test_the_database_answers_no_worthless_token(project: Running, anon: Caller, kind: str):
    headers = {"Authorization": f"Bearer {bad_tokens(project)[kind]}"}
    for path in ("documents", "rpc/active_model", "rpc/match_documents"):
        answer = anon.http.get(f"/rest/v1/{path}", headers=headers)
        assert answer.status_code == 401, answer.text


VECTOR = lookups.RED
WRONG = [
    ("match_documents", {}, 404),
    ("match_documents", {"query_embedding": None}, 400),
    ("match_documents", {"query_embedding": [1, 2, 3]}, 400),
    ("match_documents", {"query_embedding": []}, 400),
    ("match_documents", {"query_embedding": [0] * DIMENSIONS}, 400),
    ("match_documents", {"query_embedding": [1] * 16_000}, 400),
    ("match_documents", {"query_embedding": ["x"] * DIMENSIONS}, 400),
    ("match_documents", {"query_embedding": f"[{','.join(['NaN'] * DIMENSIONS)}]"}, 400),
    ("match_documents", {"query_embedding": f"[{','.join(['Infinity'] * DIMENSIONS)}]"}, 400),
    ("match_documents", {"query_embedding": [1e39] * DIMENSIONS}, 400),
    ("match_documents", {"query_embedding": "nonsense"}, 400),
    ("match_documents", {"query_embedding": {"a": 1}}, 400),
    ("match_documents", {"query_embedding": True}, 400),
    ("match_documents", {"query_embedding": VECTOR, "match_count": -1}, 400),
    ("match_documents", {"query_embedding": VECTOR, "match_count": 10_001}, 400),
    ("match_documents", {"query_embedding": VECTOR, "match_count": 1.5}, 400),
    ("match_documents", {"query_embedding": VECTOR, "match_count": 10**30}, 400),
    ("match_documents", {"query_embedding": VECTOR, "match_count": "ten"}, 400),
    ("match_documents", {"query_embedding": VECTOR, "skip_count": -1}, 400),
    ("match_documents", {"query_embedding": VECTOR, "skip_count": 10**9}, 400),
    ("match_documents", {"query_embedding": VECTOR, "similarity_threshold": "high"}, 400),
    ("match_documents", {"query_embedding": VECTOR, "similarity_threshold": 10**400}, 400),
    ("match_documents", {"query_embedding": VECTOR, "colour": "red"}, 404),
    ("match_documents", {"query_embedding": VECTOR, "model": "none"}, 400),
    ("match_documents", {"query_embedding": VECTOR, "query_kind": "sound"}, 400),
    ("match_documents", {"query_embedding": VECTOR, "min_confidence": "certain"}, 400),
    ("match_documents", {"query_embedding": VECTOR, "best_confidence": "certain"}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": []}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": "x"}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"colour": "red"}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"bucket": 7}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"prefix": {}}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"mime_type": [7]}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"min_bytes": "x"}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"max_bytes": 1e300}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"uploaded_after": "soon"}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"owner": []}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"metadata": "x"}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"prefix": "\0"}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"prefix": "a" * 200_000}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"mime_type": ["a"] * 50_000}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "filter": {"metadata": {"k": [1] * 50_000}}}, 400),
    ("search_documents", {"query_embedding": VECTOR}, 404),
    ("search_documents", {"query_embedding": VECTOR, "query_text": "x", "words": 2}, 400),
    ("search_documents", {"query_embedding": VECTOR, "query_text": "x", "words": "many"}, 400),
    ("search_documents", {"query_embedding": None, "query_text": "x"}, 400),
    ("search_documents", {"query_embedding": VECTOR, "query_text": "x\0"}, 400),
    (
        "search_documents",
        {"query_embedding": VECTOR, "query_text": "x", "page_after": {"similarity": 1, "id": 1}},
        400,
    ),
    ("search_documents", {"query_embedding": VECTOR, "query_text": "x", "skip_count": -1}, 400),
    ("similar_documents", {"name": "none.png"}, 404),
    ("similar_documents", {"name": None}, 404),
    ("match_documents", {"query_embedding": VECTOR, "page_after": []}, 400),
    (
        "match_documents",
        {"query_embedding": VECTOR, "page_after": {"similarity": 1, "id": 1, "score": 1}},
        400,
    ),
    ("match_documents", {"query_embedding": VECTOR, "page_after": {"similarity": 1, "id": 1, "x": 1}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "page_after": [1, "id", "similarity"]}, 400),
    (
        "recommend_documents",
        {"likes": [{"embedding": VECTOR}], "page_after": {"score": 1, "id": 1, "similarity": 1}},
        400,
    ),
    ("match_documents", {"query_embedding": VECTOR, "page_after": {"id": "x"}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "page_after": {"similarity": "NaN", "id": 1}}, 400),
    ("match_documents", {"query_embedding": VECTOR, "page_after": {"similarity": 1, "id": 1e30}}, 400),
    ("get_embeddings", {"document_ids": ["x"]}, 400),
    ("get_embeddings", {"document_ids": "x"}, 400),
    ("get_embeddings", {"document_ids": [10**30]}, 400),
    ("get_embeddings", {"names": 7}, 400),
    ("get_embeddings", {"names": ["a\0b"]}, 400),
    ("get_embeddings", {"names": ["\ud800"]}, 400),
    ("get_embeddings", {"names": ["a.png"] * 1001}, 400),
    ("get_embeddings", {"document_ids": [1] * 1001}, 400),
    ("object_states", {"names": ["a.png"]}, 404),
    ("object_states", {"bucket": "images", "names": "a.png"}, 400),
    ("object_states", {"bucket": "images", "names": ["a\0b"]}, 400),
    ("object_states", {"bucket": "images", "names": ["a.png"] * 1001}, 400),
    ("recommend_documents", {}, 404),
    ("recommend_documents", {"likes": []}, 400),
    ("recommend_documents", {"likes": {}}, 400),
    ("recommend_documents", {"likes": [7]}, 400),
    ("recommend_documents", {"likes": [{}]}, 400),
    ("recommend_documents", {"likes": [{"id": 999_999}]}, 404),
    ("recommend_documents", {"likes": [{"id": "x"}]}, 400),
    ("recommend_documents", {"likes": [{"id": 1e30}]}, 400),
    ("recommend_documents", {"likes": [{"embedding": [1, 2]}]}, 400),
    ("recommend_documents", {"likes": [{"embedding": "x"}]}, 400),
    ("recommend_documents", {"likes": [{"embedding": [0] * DIMENSIONS}]}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR, "weight": 0}]}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR, "weight": "x"}]}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR, "colour": "red"}]}, 400),
    (
        "recommend_documents",
        {"likes": [{"embedding": VECTOR}], "unlikes": [{"embedding": VECTOR, "id": 1}]},
        400,
    ),
    ("recommend_documents", {"likes": [{"embedding": VECTOR}], "strategy": "guess"}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR}], "diversity": 2}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR}], "diversity": "NaN"}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR}], "collapse": "all"}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR}], "match_count": 10_001}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR}] * 101}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR}], "filter": {"colour": "red"}}, 400),
    ("recommend_documents", {"likes": [{"embedding": VECTOR}], "model": "none"}, 400),
    ("active_model", {"name": "x"}, 404),
    ("index_status", {}, 401),  # not for callers
    ("index_bucket", {"bucket_id": "half", "public_search": True}, 401),
    ("claim_embedding_jobs", {"loaded_models": [MODEL], "max_jobs": 1}, 401),
    ("can_see", {"target_object_id": scenario.OWNER, "target_version": ""}, 404),  # of the private schema
]


@pytest.mark.parametrize(("function", "arguments", "status"), WRONG, ids=lambda value: f"{value!r:.70}")
def test_a_call_that_makes_no_sense_is_refused_by_the_database(
    anon: Caller, function: str, arguments: dict[str, Any], status: int
):
    answer = anon.post(f"/rest/v1/rpc/{function}", content=json.dumps(arguments), headers=JSON)
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["message"]
    if told["code"] in ("22023", "PT404"):
        assert told["hint"]


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"[" * DEEP, b'{"query_embedding": ' + b"[" * DEEP, b"\xff"]
)
def test_a_call_that_is_no_json_is_refused_by_the_database(anon: Caller, body: bytes):
    answer = anon.post("/rest/v1/rpc/match_documents", content=body, headers=JSON)
    assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "parameters",
    [
        {"select": "embedding,none"},
        {"select": "*,storage.objects(*)"},
        {"id": "eq.x"},
        {"id": "eq.1 or true"},
        {"order": "id.sideways"},
        {"limit": "-1"},
        {"metadata": "cs.{"},
    ],
    ids=str,
)
def test_a_table_request_that_makes_no_sense_is_refused(project: Running, parameters: dict[str, str]):
    service = lookups.caller(project, "service")
    answer = service.http.get("/rest/v1/documents", params=parameters)
    assert 400 <= answer.status_code < 500, answer.text
