"""embed_on_upload over HTTP: callers, bodies and answers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.errors import ModelBroken
from shared.indexing.webhook_handler import WebhookHandler
from shared.runtime.limiter import ConcurrencyLimiter
from shared.testing import RpcTransport

OBJECT_ID = str(uuid.UUID(int=7))
CURRENT, PREVIOUS = "the-current-secret", "the-previous-secret"
HEADERS = {"x-webhook-secret": CURRENT}
WEBHOOK = {
    "type": "INSERT",
    "schema": "storage",
    "table": "objects",
    "record": {"id": OBJECT_ID, "bucket_id": "images", "name": "a.png"},
    "old_record": None,
}


def state(status: str, reason: str) -> list[dict[str, Any]]:
    return [{"status": status, "reason": reason, "bucket_id": "images", "name": "a.png"}]


@pytest.fixture
def postgrest() -> RpcTransport:
    return RpcTransport(
        claim_object=state("unchanged", "The document is up to date."),
        claim_embedding_jobs=[],
        active_model=[{"name": "colours", "dimensions": 4}],
    )


@pytest.fixture
def client(serve: Callable[..., Flask], postgrest: RpcTransport) -> FlaskClient:
    return serve("embed_on_upload", postgrest).test_client()


def test_an_unknown_path_is_answered_with_the_paths_there_are(client: FlaskClient):
    detail = client.get("/openapi.json").json["detail"]  # only the query function has one
    assert "/live, /health, /metrics" in detail and "openapi" not in detail


def test_a_webhook_is_answered_with_a_count_that_names_nothing(client: FlaskClient, postgrest: RpcTransport):
    answer = client.post("/", json=WEBHOOK, headers=HEADERS)
    assert answer.status_code == 200
    assert answer.json == {"unchanged": 1}
    [asked] = postgrest.called("claim_object")
    assert (asked["target_object_id"], asked["loaded_models"]) == (OBJECT_ID, ["colours"])
    assert postgrest.requests[0].headers["apikey"] == "sb_secret_ours"


def test_a_kick_claims_what_is_due(client: FlaskClient, postgrest: RpcTransport):
    answer = client.post("/", json={"type": "KICK", "limit": 3}, headers=HEADERS)
    assert (answer.status_code, answer.json) == (200, {})
    assert postgrest.called("claim_embedding_jobs")[0]["max_jobs"] == 3


@pytest.mark.parametrize("secret", [CURRENT, PREVIOUS])
def test_both_secrets_are_accepted_during_rotation(client: FlaskClient, secret: str):
    assert client.post("/", json=WEBHOOK, headers={"x-webhook-secret": secret}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"x-webhook-secret": ""}, {"x-webhook-secret": "no\xff"}])
@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("GET", "/health"), ("GET", "/metrics")])
def test_without_the_secret_nobody_gets_in(
    client: FlaskClient, postgrest: RpcTransport, headers: dict[str, str], method: str, path: str
):
    answer = client.open(path, method=method, json=WEBHOOK, headers=headers)
    assert (answer.status_code, answer.json["type"]) == (401, "unauthorized")
    assert CURRENT not in answer.text and postgrest.calls == []


def test_no_secret_is_logged_whether_it_fits_or_not(client: FlaskClient, capsys: pytest.CaptureFixture[str]):
    for secret in (CURRENT, PREVIOUS, "a-guess"):
        client.post("/", json=WEBHOOK, headers={"x-webhook-secret": secret})
    log = capsys.readouterr().err
    assert OBJECT_ID in log
    assert not any(secret in log for secret in (CURRENT, PREVIOUS, "a-guess"))


def test_a_function_without_a_secret_refuses_everything(serve: Callable[..., Flask]):
    client = serve("embed_on_upload", EMBED_WEBHOOK_SECRET="").test_client()
    answer = client.post("/", json=WEBHOOK, headers={"x-webhook-secret": ""})
    assert answer.status_code == 401
    assert "EMBED_WEBHOOK_SECRET is not set" in answer.json["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b"\xff", json.dumps({**WEBHOOK, "table": "x"}).encode()]
)
def test_a_malformed_body_is_answered_with_what_was_expected(client: FlaskClient, body: bytes):
    answer = client.post("/", data=body, headers=HEADERS)
    assert (answer.status_code, answer.json["type"]) == (400, "invalid-payload")
    assert answer.content_type == "application/problem+json"
    assert "Expected" in answer.json["detail"] or "Make it for" in answer.json["detail"]


def test_a_body_that_is_too_large_is_refused_unread(client: FlaskClient):
    answer = client.post("/", data=b" " * (4 * 1024 * 1024 + 1), headers=HEADERS)
    assert (answer.status_code, answer.json["type"]) == (413, "payload-too-large")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("POST", "/nowhere", 404, "unknown-path"),
        ("GET", "/favicon.ico", 404, "unknown-path"),
        ("GET", "/", 405, "method-not-allowed"),
        ("DELETE", "/live", 405, "method-not-allowed"),
    ],
)
def test_another_path_or_method_is_a_problem(
    client: FlaskClient, method: str, path: str, status: int, kind: str
):
    answer = client.open(path, method=method, headers=HEADERS)
    assert (answer.status_code, answer.json["type"]) == (status, kind)


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("refused"),
        httpx.Response(401, json={"code": "PGRST301", "message": "JWT"}),
        httpx.Response(403, json={"code": "42501", "message": "permission denied"}),
        httpx.Response(500, json={"code": "57014", "message": "timeout"}),
    ],
)
def test_a_fault_of_the_surroundings_asks_the_caller_to_come_back(
    client: FlaskClient, postgrest: RpcTransport, fault: object
):
    postgrest.answers["claim_object"] = fault
    answer = client.post("/", json=WEBHOOK, headers=HEADERS)
    assert answer.status_code == answer.json["status"] == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_a_full_function_answers_busy(serve: Callable[..., Flask], postgrest: RpcTransport):
    app = serve("embed_on_upload", postgrest)
    limiter = ConcurrencyLimiter(running=1, waiting=0)
    app.extensions["webhook_handler"] = WebhookHandler(
        database=None,
        storage=None,
        models=None,
        limiter=limiter,
        metrics=None,
        decode=None,
        max_bytes=1,
        stopping=None,
    )  # type: ignore[arg-type]
    with limiter.enter():
        answer = app.test_client().post("/", json=WEBHOOK, headers=HEADERS)
    assert (answer.status_code, answer.json["type"], answer.headers["Retry-After"]) == (503, "busy", "5")
    assert postgrest.calls == []


def test_what_nobody_expected_is_logged_and_not_told(
    client: FlaskClient, postgrest: RpcTransport, capsys: pytest.CaptureFixture[str]
):
    postgrest.answers["claim_object"] = [{"status": "a status of tomorrow"}]
    answer = client.post("/", json=WEBHOOK, headers=HEADERS)
    assert (answer.status_code, answer.json["type"]) == (500, "internal")
    assert "KeyError" not in answer.text and "KeyError" in capsys.readouterr().err


def test_it_is_live_while_its_model_answers(client: FlaskClient, serve: Callable[..., Flask]):
    assert client.get("/live").json == {"status": "ok"}

    def broken(_name: str) -> None:
        raise ModelBroken()

    assert serve("embed_on_upload", load=broken).test_client().get("/live").status_code == 500


def test_health_reports_model_and_database_and_no_secret(client: FlaskClient, postgrest: RpcTransport):
    answer = client.get("/health", headers=HEADERS)
    assert answer.status_code == 200
    assert answer.json == {
        "status": "ok",
        "embedding": {"status": "ok", "models": ["colours"], "loaded": ["colours"]},
        "database": {"status": "ok", "active_model": "colours"},
    }
    for fault in (httpx.ConnectError("refused"), [], [{"name": "another", "dimensions": 4}]):
        postgrest.answers["active_model"] = fault
        answer = client.get("/health", headers=HEADERS)
        assert (answer.status_code, answer.json["database"]["status"]) == (503, "failing")
        assert "sb_secret_ours" not in answer.text


def test_neither_health_nor_the_log_repeats_the_headers_that_a_gateway_tells_back(
    serve: Callable[..., Flask], postgrest: RpcTransport, capsys: pytest.CaptureFixture[str]
):
    """pg_net keeps our answers for hours where every database role can read them."""
    key = "hidden-key-of-another-kind"
    told = f"failed: {{'apikey': '{key}', 'Authorization': 'Bearer {key}'}} {CURRENT} sb_secret_hidden"
    postgrest.answers["active_model"] = httpx.Response(500, json={"message": told, "code": "XX000"})
    client = serve("embed_on_upload", postgrest, SUPABASE_SECRET_KEY=key).test_client()
    answer = client.get("/health", headers=HEADERS)
    log = capsys.readouterr().err
    assert answer.status_code == 503 and "failed: {'apikey': '…'" in answer.json["database"]["detail"]
    for text in (answer.text, log):
        assert "failed: " in text and "hidden" not in text and CURRENT not in text


def test_metrics_count_what_was_answered(client: FlaskClient):
    client.post("/", json=WEBHOOK, headers=HEADERS)
    client.post("/nowhere", headers=HEADERS)
    text = client.get("/metrics", headers=HEADERS).text
    assert 'neural_search_requests_total{path="/",status="200"} 1.0' in text
    assert 'neural_search_requests_total{path="other",status="404"} 1.0' in text


def test_importing_the_function_loads_no_model_and_starts_no_thread(serve: Callable[..., Flask]):
    app = serve("embed_on_upload")
    assert app.extensions["models"].loaded() == []
    assert "webhook_handler" not in app.extensions
