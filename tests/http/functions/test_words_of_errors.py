"""What callers are told of errors: our own words. Addresses, paths and others' words are for the log."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
import responses
from flask import Flask
from flask.testing import FlaskClient

from shared.errors import ModelBroken
from shared.supabase import database
from shared.testing import ColourEmbedder, RpcTransport, picture

# What stands in the places where addresses, paths, names of tables and foreign words would.
HIDDEN = "hidden"
STORAGE = "http://supabase.test/storage/v1/object"
SECRET = {"x-webhook-secret": "the-current-secret"}


def refusal(code: str, status: int = 400, hint: str | None = None) -> httpx.Response:
    told = {"code": code, "message": f"{HIDDEN} words", "details": f"{HIDDEN} row", "hint": hint}
    return httpx.Response(status, json=told)


CODES = (
    *("PGRST001", "PGRST202", "PGRST301", "PGRST303", "PT403"),
    *("22P02", "23505", "42501", "42P01", "53300", "57014", "P0001", "XX000"),
)
DATABASE = {
    "unreachable": httpx.ConnectError(f"[Errno -2] {HIDDEN}.internal:8000: Name or service not known"),
    "broken protocol": httpx.RemoteProtocolError(f"{HIDDEN} state"),
    "no JSON": httpx.Response(200, text="<html>", headers={"content-type": f"text/{HIDDEN}"}),
    "gateway": httpx.Response(502, json={"message": f"{HIDDEN}.internal: upstream failed"}),
    "no error of a client": RuntimeError(f"{HIDDEN} class"),
    **{code: refusal(code) for code in (*CODES, "22023", "55000", "PT404")},
    **{f"{code} with a remedy": refusal(code, hint=f"{HIDDEN} hint") for code in CODES},
}
FOREIGN_BODY = {"statusCode": "415", "error": "invalid_mime_type", "message": f"{HIDDEN} words"}
STORAGES = {
    "unreachable": requests.ConnectionError(f"HTTPConnectionPool(host='{HIDDEN}.internal', port=5000)"),
    "silent": requests.ReadTimeout(f"{HIDDEN}.internal"),
    "cut off": requests.exceptions.ChunkedEncodingError(f"{HIDDEN} class"),
    "refused": (400, FOREIGN_BODY),
    "refused with a sentence for a code": (400, FOREIGN_BODY | {"error": f"{HIDDEN} host.internal:5000"}),
    "not there": (400, FOREIGN_BODY | {"statusCode": "404"}),
    "too large": (400, FOREIGN_BODY | {"statusCode": "413"}),
    "forbidden": (400, FOREIGN_BODY | {"statusCode": "403"}),
    "failed": (500, FOREIGN_BODY | {"statusCode": "500"}),
    "gateway": (502, f"<html>{HIDDEN}"),
}


@pytest.fixture(autouse=True)
def _without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a token that is dated ahead is tried again."""
    monkeypatch.setattr(database, "CLOCK_SECONDS", 0.0)


@pytest.fixture
def storage() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def fail(mock: responses.RequestsMock, method: str, url: str, fault: Any) -> None:
    if isinstance(fault, Exception):
        mock.add(method, url, body=fault)
    else:
        status, body = fault
        mock.add(method, url, status=status, **{"body" if isinstance(body, str) else "json": body})


def check(answer: Any, log: str) -> None:
    assert answer.status_code >= 400 and len(answer.json["detail"]) > 20
    assert HIDDEN not in answer.text and "supabase.test" not in answer.text
    assert HIDDEN in log, "the operator is told"


@pytest.mark.parametrize("call", ["active_model", "search_documents"])
@pytest.mark.parametrize("fault", DATABASE.values(), ids=DATABASE)
def test_the_databases_words_are_for_the_log(
    serve: Callable[..., Flask], capsys: pytest.CaptureFixture[str], call: str, fault: Any
):
    answers: dict[str, Any] = {"active_model": [{"name": "colours", "dimensions": 4}], call: fault}
    client = serve("query", RpcTransport(**answers)).test_client()
    check(client.post("/", json={"text": "red"}), capsys.readouterr().err)


@pytest.mark.parametrize("fault", DATABASE.values(), ids=DATABASE)
def test_webhooks_and_health_are_answered_likewise(
    serve: Callable[..., Flask], capsys: pytest.CaptureFixture[str], fault: Any
):
    embed = serve(
        "embed_on_upload", RpcTransport(claim_embedding_jobs=fault, active_model=fault)
    ).test_client()
    check(embed.post("/", json={"type": "KICK", "limit": 1}, headers=SECRET), capsys.readouterr().err)
    assert HIDDEN in embed.get("/health", headers=SECRET).text, "who has the secret is the operator"
    health = serve("query", RpcTransport(active_model=fault)).test_client().get("/health")
    assert health.status_code == 503 and HIDDEN not in health.text
    assert HIDDEN in capsys.readouterr().err


@pytest.mark.parametrize(
    ("function", "setting"),
    [("query", "SUPABASE_PUBLISHABLE_KEY"), ("embed_on_upload", "SUPABASE_SECRET_KEY")],
)
def test_health_names_the_setting_of_a_key_that_is_refused(
    serve: Callable[..., Flask], function: str, setting: str
):
    app = serve(function, RpcTransport(active_model=httpx.Response(401, json={"message": "Invalid API key"})))
    database = app.test_client().get("/health", headers=SECRET).json["database"]
    assert database["error"] == "unauthorized" and f"Correct {setting} and restart it." in database["detail"]


def test_our_own_functions_words_are_passed_on(serve: Callable[..., Flask]):
    told = {"code": "22023", "message": "limit is 0.", "details": None, "hint": "Ask for 1 or more."}
    broken_off = {
        "code": "57014",
        "message": "The database broke off the search (SQLSTATE 57014).",
        "hint": "Narrow it.",
    }
    for answer, words in ((told, "limit is 0 (22023). Ask for 1 or more."), (broken_off, "Narrow it.")):
        answers = {
            "active_model": [{"name": "colours", "dimensions": 4}],
            "search_documents": httpx.Response(400, json=answer),
        }
        client = serve("query", RpcTransport(**answers)).test_client()
        assert words in client.post("/", json={"text": "red"}).json["detail"]


@pytest.mark.parametrize("fault", STORAGES.values(), ids=STORAGES)
def test_storages_words_are_for_the_log(
    serve: Callable[..., Flask],
    storage: responses.RequestsMock,
    capsys: pytest.CaptureFixture[str],
    fault: Any,
):
    client = serve("query", RpcTransport(active_model=[{"name": "colours", "dimensions": 4}])).test_client()
    fail(storage, "POST", f"{STORAGE}/images/a.png", fault)
    form = {"bucket": "images", "name": "a.png", "image": (io.BytesIO(picture("red")), "a.png")}
    uploaded = client.post("/embeddings", data=form, content_type="multipart/form-data")
    fail(storage, "GET", f"{STORAGE}/sign/images/a.png", fault)
    shown = client.get("/preview", query_string={"bucket": "images", "name": "a.png", "token": "t"})
    log = capsys.readouterr().err
    for answer in (uploaded, shown):
        assert answer.status_code >= 400 and len(answer.json["detail"]) > 20
        assert HIDDEN not in answer.text and "supabase.test" not in answer.text
    assert log.count('"error_class"') >= 2, "the operator is told of both"


def test_a_models_words_are_for_the_log(serve: Callable[..., Flask], capsys: pytest.CaptureFixture[str]):
    def load(name: str) -> ColourEmbedder:
        raise ModelBroken(f"'/cache/{HIDDEN}/model.xml' can't be used.")

    answers = {"active_model": [{"name": "colours", "dimensions": 4}]}
    client: FlaskClient = serve("query", RpcTransport(**answers), load=load).test_client()
    check(client.post("/", json={"text": "red"}), capsys.readouterr().err)
    for path in ("/live", "/health"):
        assert HIDDEN not in client.get(path).text


def test_a_decoders_words_arent_told(serve: Callable[..., Flask]):
    client = serve("query", RpcTransport(active_model=[{"name": "colours", "dimensions": 4}])).test_client()
    damaged = picture("red").replace(b"IDAT", b"IDAT\0")
    told = client.post("/", data=damaged, content_type="image/png").json
    assert told["type"] == "broken-image" and "(" not in told["detail"] and "<" not in told["detail"]
