"""doctor asks the deployed functions as a stranger would."""

from __future__ import annotations

from typing import Any

import pytest
import responses
from responses import matchers

from cli.checks.api import publishable_key, row_limit, seen_by_anon
from cli.checks.functions import closed, query_health, strangers
from cli.client.project import Project
from shared import settings
from shared.errors import DatabaseError, DatabaseForbidden, NeuralSearchError

PROJECT, QUERY = "http://project.invalid", "http://query.invalid"
KEYS = {"SUPABASE_PUBLISHABLE_KEY": "sb_publishable_a", "SUPABASE_SECRET_KEY": "sb_secret_b"}
TARGET = settings.load({"SUPABASE_URL": PROJECT, "QUERY_URL": QUERY, **KEYS})


@pytest.fixture
def documents(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """The ids that each key sees."""
    seen = {"secret_key": [1, 2, 3], "publishable_key": [1, 3]}

    def call_as(_project: Any, key: str, function: str, **_: Any) -> list[dict[str, Any]]:
        if key not in seen:
            raise DatabaseForbidden(f"{function}: permission denied for function {function} (42501)")
        return [{"id": one, "bucket_id": "photos"} for one in seen[key]]

    monkeypatch.setattr("cli.client.project.Project.call_as", call_as)
    return seen


def answers(status: int) -> None:
    hidden = matchers.json_params_matcher({"like": 2, "limit": 1})
    responses.post(QUERY, json={"type": "…", "detail": "…"}, status=status, match=[hidden])


@responses.activate
def test_a_function_that_shows_strangers_what_anon_may_not_see_is_named(
    documents: dict[str, list[int]],
) -> None:
    answers(200)
    with pytest.raises(NeuralSearchError, match="shows strangers document 2, which anon may not see"):
        strangers(TARGET)


@pytest.mark.parametrize("status", [401, 403, 404])
@responses.activate
def test_one_that_hides_it_is_in_order(documents: dict[str, list[int]], status: int) -> None:
    answers(status)
    assert strangers(TARGET) == "hides from them what is hidden from anon"
    assert "apikey" not in responses.calls[0].request.headers


@responses.activate
def test_from_anon_who_is_shut_out_all_is_hidden(documents: dict[str, list[int]]) -> None:
    del documents["publishable_key"]
    shown = matchers.json_params_matcher({"like": 1, "limit": 1})
    responses.post(QUERY, json={"type": "…", "detail": "…"}, status=403, match=[shown])
    assert strangers(TARGET) == "hides from them what is hidden from anon"


@responses.activate
def test_the_404_of_another_server_hides_nothing(documents: dict[str, list[int]]) -> None:
    responses.post(QUERY, body="<h1>Buy this domain</h1>", status=404)
    with pytest.raises(NeuralSearchError, match="Is that the function's address"):
        strangers(TARGET)


@responses.activate
def test_one_that_fails_is_no_proof(documents: dict[str, list[int]]) -> None:
    answers(500)
    with pytest.raises(NeuralSearchError, match="answered 500"):
        strangers(TARGET)


def test_who_has_shut_anon_out_hears_of_no_fault(documents: dict[str, list[int]]) -> None:
    del documents["publishable_key"]
    with Project(TARGET) as project:
        assert publishable_key(project) == "works; anon is shut out of all searches"
        with pytest.raises(DatabaseError, match="at most 3 rows"):  # by the secret key
            row_limit(project)


@responses.activate
def test_who_has_taken_active_model_from_anon_hears_of_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first way of docs/security.md: the other functions fail in it."""

    def call_as(_project: Any, key: str, function: str, **_: Any) -> list[dict[str, Any]]:
        if key == "secret_key":
            return [{"id": 1, "bucket_id": "photos"}]
        raise DatabaseForbidden(f"{function}: permission denied for function active_model (42501)")

    monkeypatch.setattr("cli.client.project.Project.call_as", call_as)
    responses.post(QUERY, json={"type": "…", "detail": "…"}, status=403)
    forbidden = {"status": "failing", "error": "database-forbidden", "detail": "It may not."}
    report = {"status": "failing", "embedding": {"status": "ok", "models": []}, "database": forbidden}
    responses.get(f"{QUERY}/health", json=report, status=503)
    with Project(TARGET) as project:
        assert publishable_key(project) == "works; anon is shut out of all searches"
        assert seen_by_anon(project) == "anon is shut out of all searches"
    assert strangers(TARGET) == "hides from them what is hidden from anon"
    assert "anon is shut out" in query_health(TARGET)
    broken = report | {"embedding": {"status": "failing", "detail": "A model is broken."}}
    responses.replace("GET", f"{QUERY}/health", json=broken, status=503)
    with pytest.raises(NeuralSearchError, match="answered 503: embedding: A model is broken"):
        query_health(TARGET)


@responses.activate
def test_a_database_that_forbids_what_anon_may_is_a_fault(documents: dict[str, list[int]]) -> None:
    forbidden = {"status": "failing", "error": "database-forbidden", "detail": "It may not."}
    report = {"status": "failing", "embedding": {"status": "ok", "models": []}, "database": forbidden}
    responses.get(f"{QUERY}/health", json=report, status=503)
    for models in ([], [1]):  # none is active: that check of its own says so
        documents["publishable_key"] = models
        with pytest.raises(NeuralSearchError, match=r"answered 503: database: It may not\."):
            query_health(TARGET)


@pytest.mark.parametrize("words", ["Forbidden (403)", "permission denied for schema public (42501)"])
def test_another_refusal_is_no_shutting_out(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """A firewall's, or that of a project whose schema was made anew, where nobody can search."""

    def call_as(_project: Any, key: str, function: str, **_: Any) -> list[dict[str, Any]]:
        if key == "secret_key":
            return [{"id": 1, "bucket_id": "photos"}]
        raise DatabaseForbidden(f"{function}: {words}")

    monkeypatch.setattr("cli.client.project.Project.call_as", call_as)
    with Project(TARGET) as project, pytest.raises(DatabaseForbidden):
        publishable_key(project)
    with pytest.raises(DatabaseForbidden):
        strangers(TARGET)


def test_where_nothing_is_hidden_nothing_is_claimed(documents: dict[str, list[int]]) -> None:
    documents["publishable_key"] = [1, 2, 3]
    assert "can't be told apart" in strangers(TARGET)


@responses.activate
def test_a_webhook_that_takes_a_call_without_the_secret_is_named() -> None:
    responses.post("http://embed.invalid", json={"results": []})
    with pytest.raises(NeuralSearchError, match=r"answered 200 without the webhook's secret\. Expected 401"):
        closed("http://embed.invalid")
    responses.replace("POST", "http://embed.invalid", json={"detail": "no"}, status=401)
    assert closed("http://embed.invalid") == "refuses them"
