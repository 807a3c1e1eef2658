"""doctor asks PostgREST for our own schema, which is nobody's but our functions'."""

from __future__ import annotations

from typing import Any

import pytest
import responses

from cli.checks.api import exposed_schemas
from shared import settings
from shared.errors import DatabaseError

PROJECT = "http://project.invalid"
TARGET = settings.load({"SUPABASE_URL": PROJECT, "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_a"})


def answers(status: int, **body: Any) -> None:
    responses.get(f"{PROJECT}/rest/v1/documents", status=status, **body)


@responses.activate
def test_a_schema_that_is_not_exposed_is_in_order() -> None:
    answers(406, json={"code": "PGRST106", "message": "Invalid schema: neural_search"})
    assert exposed_schemas(TARGET) == "neural_search isn't exposed"
    assert responses.calls[0].request.headers["Accept-Profile"] == "neural_search"


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, {"json": []}), (401, {"json": {"code": "42501"}}), (404, {"json": {"code": "PGRST205"}})],
)
@responses.activate
def test_one_that_is_exposed_is_named(status: int, body: dict[str, Any]) -> None:
    answers(status, **body)
    with pytest.raises(DatabaseError, match=f"answered {status}.* take it out of the exposed schemas"):
        exposed_schemas(TARGET)


@responses.activate
def test_what_does_not_say_is_no_proof() -> None:
    answers(502, body="<h1>Bad gateway</h1>")
    with pytest.raises(DatabaseError, match=r"gave no answer of its own \(JSONDecodeError\)"):
        exposed_schemas(TARGET)
