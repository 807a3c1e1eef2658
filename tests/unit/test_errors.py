"""The tree of errors: each has a stable type, a default message with a remedy, and a place in the docs."""

from __future__ import annotations

import json
from typing import get_args
from urllib.parse import quote

import jwt
import pytest

from shared import errors, settings
from shared.errors import NeuralSearchError, kinds

TREE = list(kinds(NeuralSearchError))


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_the_default_message_is_a_sentence_with_a_remedy(error: type[NeuralSearchError]):
    assert str(error()).count(".") >= 2 and str(error()).endswith(".")


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_the_tree_in_the_modules_docstring_is_true(error: type[NeuralSearchError]):
    assert f"{error.__name__}\n" in (errors.__doc__ or "").replace("  ", "\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, {"a": [float("inf")]}, b"bytes"])
def test_a_value_that_json_cannot_hold_is_told_as_text(value: object):
    told = errors.InvalidQuery("no", value=value).problem()["value"]
    assert told == repr(value)


@pytest.mark.parametrize("value", ["x" * 10_000, ["x"] * 10_000, {"x" * 10_000: 1}])
def test_no_more_of_a_long_value_is_told_back_than_people_read(value: object):
    told = errors.InvalidQuery("no", value=value).problem()["value"]
    assert isinstance(told, str) and 30 < len(told) <= 200


def test_types_are_distinct():
    types = [error.type for error in TREE]
    assert len(types) == len(set(types))


def test_a_problem_carries_type_title_status_detail_and_the_offending_value():
    problem = errors.InvalidQuery("limit is 0. Expected 1 to 100.", value=0).problem()
    assert problem == {
        "type": "invalid-query",
        "title": "Invalid query",
        "status": 400,
        "detail": "limit is 0. Expected 1 to 100.",
        "value": 0,
    }


SERVICE = jwt.encode({"role": "service_role"}, "a secret that is long enough for HMAC", "HS256")


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer {SERVICE}",
        f'"{SERVICE}"\n# the service\'s',
        "apikey: sb_secret_hidden-of_all.",
        "postgresql://postgres:hidden@db.test/postgres",
        "https://a.test/object/sign/b/c?token=hidden&x=1",
    ],
)
def test_no_key_token_or_password_is_told_wherever_it_stands(text: str):
    told = errors.InvalidQuery(f"It answered {text} Why?").problem()["detail"]
    assert told.startswith("It answered ") and told.endswith(" Why?") and "…" in told
    assert "hidden" not in told and SERVICE.split(".")[1] not in told


OWN = {
    "SUPABASE_URL": "http://x",
    "SUPABASE_SECRET_KEY": "hidden-key-of-another-kind",
    "SUPABASE_USER_TOKEN": "hidden-token-of-another-kind",
    "EMBED_WEBHOOK_SECRET": "hidden-'secret'-of-\\\"two\\\",hidden-'secret'-of-\\\"two\\\"-anew",
    "DATABASE_URL": "host=db.test password=hidden-p%ssword-of-all",
}


@pytest.mark.parametrize("kind", [errors.StorageError, errors.InvalidQuery, errors.NeuralSearchError])
def test_no_error_tells_a_secret_of_our_settings_however_it_was_told_back(kind: type[NeuralSearchError]):
    """A gateway may answer with the request's headers."""
    for secret in settings.load(OWN).secrets:
        headers = {"apikey": secret}
        body = json.dumps({"message": f"failed: {headers}"})
        for text in (secret, f"{headers}", json.dumps(headers), body, f"{body!r}", quote(secret)):
            error = kind(f"It answered {text}.", told=f"It answered {text}!")
            told = f"{error} {error!r} {error.problem()}"
            assert "hidden" not in told and "-of-" not in told and str(error).startswith("It answered ")


def test_a_short_password_is_no_part_of_other_words():
    settings.load(OWN | {"DATABASE_URL": "postgresql://postgres:postgres@db.test/postgres"})
    assert str(errors.DatabaseError("Connect as postgres.")) == "Connect as postgres."


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_each_error_says_what_becomes_of_a_job(error: type[NeuralSearchError]):
    assert error.outcome in get_args(errors.Outcome)
    assert f"\n{error.outcome} " in (errors.__doc__ or "")
