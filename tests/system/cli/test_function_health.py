"""Which models a function says that it has, and the advice where it doesn't."""

from __future__ import annotations

import pytest
import requests
import responses

from cli.checks.functions import ask
from cli.client.function_health import models_of
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
