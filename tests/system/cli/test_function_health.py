"""What the commands tell of the functions' health and answers, and the advice where they fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
import responses
from support.slow_taker import slow_taker

from cli.checks.functions import ask
from cli.client.function_health import models_of
from cli.commands import query
from cli.commands.query import search
from cli.models.switch import _require_loaded as require_loaded
from shared import settings
from shared.errors import ModelNotLoaded, NeuralSearchError

URL = "http://functions.invalid/query"


@responses.activate
def test_the_models_are_those_of_its_health() -> None:
    responses.get(f"{URL}/health", json={"embedding": {"status": "ok", "models": ["a", "b"]}})
    assert models_of(URL, apikey="key") == {"a": "", "b": ""}
    assert responses.calls[0].request.headers["apikey"] == "key"


@pytest.mark.parametrize("body", ["<html>Not found</html>", '{"message": "no route"}', "[]"])
@responses.activate
def test_what_answers_without_models_is_not_called_silent(body: str) -> None:
    responses.get(f"{URL}/health", body=body, status=404)
    with pytest.raises(NeuralSearchError, match=r"answered 404 without saying .* Check the address"):
        models_of(URL)


@responses.activate
def test_what_is_silent_is_to_be_started() -> None:
    responses.get(f"{URL}/health", body=requests.ConnectionError("refused"))
    with pytest.raises(NeuralSearchError, match=r"doesn't answer \(ConnectionError\)\. Start the function"):
        models_of(URL)


@pytest.mark.parametrize("asks", [ask, models_of])
@responses.activate
def test_a_redirect_is_told_and_gets_no_secret(asks: Callable[..., object]) -> None:
    responses.get(URL, status=307, headers={"location": "http://elsewhere.invalid/"})
    responses.get(f"{URL}/health", status=307, headers={"location": "http://elsewhere.invalid/"})
    elsewhere = responses.get("http://elsewhere.invalid/", json={"embedding": {"models": []}})
    with pytest.raises(NeuralSearchError, match="answered 307, a redirect to another address"):
        asks(URL, **{"x-webhook-secret": "secret"})
    assert elsewhere.call_count == 0


@responses.activate
def test_a_model_that_fails_is_told_with_its_cause() -> None:
    part = {"status": "ok", "models": ["a"], "failing": {"b": "no memory"}}
    responses.get(f"{URL}/health", json={"embedding": part})
    assert models_of(URL) == {"a": "", "b": "no memory"}


@responses.activate
def test_what_works_is_told_where_the_active_model_fails() -> None:
    part = {"status": "failing", "detail": "…", "models": ["b"], "failing": {"a": "no memory"}}
    responses.get(f"{URL}/health", json={"embedding": part}, status=503)
    assert models_of(URL) == {"b": "", "a": "no memory"}


@responses.activate
def test_a_model_that_the_query_function_has_but_cant_load_is_refused_with_the_cause() -> None:
    part = {"status": "ok", "models": ["a"], "failing": {"b": "no memory"}}
    responses.get(f"{URL}/health", json={"embedding": part})
    target = settings.load({"QUERY_URL": URL, "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_a"})
    require_loaded(target, "a")
    with pytest.raises(ModelNotLoaded, match=r"can't embed with 'b': searches would stop\. no memory"):
        require_loaded(target, "b")


@responses.activate
def test_doctor_tells_of_a_standby_that_fails_where_the_function_serves() -> None:
    part = {"status": "ok", "models": ["a"], "failing": {"b": "no memory"}}
    responses.get(f"{URL}/health", json={"embedding": part})
    with pytest.raises(NeuralSearchError, match="the model 'b' doesn't embed there: no memory"):
        ask(f"{URL}/health")


@responses.activate
def test_doctor_tells_what_fails_and_where_the_log_has_its_cause() -> None:
    parts = {
        "embedding": {"status": "failing", "error": "model-broken", "detail": "No model does"},
        "database": {"status": "failing", "error": "database-unavailable", "detail": "It can't be reached."},
    }
    responses.get(f"{URL}/health", json=parts, status=503, headers={"x-request-id": "7f3c"})
    with pytest.raises(NeuralSearchError) as told:
        ask(f"{URL}/health")
    assert str(told.value) == (
        f"{URL}/health answered 503: embedding: No model does. database: It can't be reached. "
        "The function's log has the cause, at request 7f3c."
    )


@responses.activate
def test_a_failed_search_tells_where_the_log_has_its_cause_and_a_refused_one_its_remedy_alone() -> None:
    target = settings.load(
        {"SUPABASE_URL": "http://x", "QUERY_URL": URL, "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}
    )
    for status, told in ((502, " The function's log has the cause, at request 7f3c."), (400, "")):
        responses.post(URL, json={"detail": "No."}, status=status, headers={"x-request-id": "7f3c"})
        with pytest.raises(NeuralSearchError) as failed:
            search(target, {"text": "red"})
        assert str(failed.value) == f"No. ({status} from {URL}).{told}"


def test_a_large_image_may_take_longer_to_send_than_the_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "TIMEOUT_SECONDS", 1)
    with slow_taker(pause=0.05, answer=b'{"results": []}') as url:
        target = settings.load({"QUERY_URL": url, "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_a"})
        assert search(target, {"image": "A" * 48 * 1024 * 1024}) == {"results": []}


@pytest.mark.parametrize("path", ["live", "health"])
@responses.activate
def test_the_page_of_another_server_is_no_answer(path: str) -> None:
    responses.get(f"{URL}/{path}", body="<h1>Buy this domain</h1>")
    with pytest.raises(NeuralSearchError, match="Is that the function's address"):
        ask(f"{URL}/{path}")
