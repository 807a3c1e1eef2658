"""Which models a function says that it has, and what is said where it doesn't."""

from __future__ import annotations

import pytest
import requests
import responses

from cli.loaded import models_of
from shared.errors import NeuralSearchError

URL = "http://functions.invalid/query"


@responses.activate
def test_the_models_are_those_of_its_health() -> None:
    responses.get(f"{URL}/health", json={"embedding": {"status": "ok", "models": ["a", "b"]}})
    assert models_of(URL, apikey="key") == ["a", "b"]
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
    responses.get(
        f"{URL}/health", json={"embedding": {"status": "failed", "detail": "no memory"}}, status=503
    )
    with pytest.raises(NeuralSearchError, match="can't embed: no memory"):
        models_of(URL)
