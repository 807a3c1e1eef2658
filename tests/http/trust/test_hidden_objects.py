"""A caller learns nothing of an object that it may not see: it is as if it weren't there.

Invariants 5 and 9.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from support import lookups, scenario
from support.databases import as_role
from support.lookups import Caller
from support.running_project import Running

from shared.search.search import NOTICE

HIDDEN = ("folders", f"{scenario.OWNER}/a.png")  # from everybody but its owner and the service
MISSING = ("folders", f"{scenario.OWNER}/0.png")
NO_ID = 999_999
ASKERS = ("anon", "stranger", "member")


@pytest.fixture(scope="module", params=ASKERS)
def asker(request: pytest.FixtureRequest, project: Running) -> Caller:
    return lookups.caller(project, request.param)


@pytest.fixture(scope="module")
def hidden_row(project: Running) -> dict[str, Any]:
    """The hidden object as the service knows it: id, object_id, embedding."""
    service = lookups.caller(project, "service")
    [row] = service.rpc("get_embeddings", names=["/".join(HIDDEN)])
    return row


LIKES: dict[str, tuple[Any, Any]] = {
    "path": (HIDDEN[1], MISSING[1]),
    "bucket and path": ("/".join(HIDDEN), "/".join(MISSING)),
}


@pytest.mark.parametrize("side", ["like", "unlike"])
@pytest.mark.parametrize("way", [*LIKES, "id"])
def test_a_hidden_example_is_answered_like_one_that_does_not_exist(
    asker: Caller, hidden_row: dict[str, Any], way: str, side: str
):
    hidden, missing = LIKES.get(way, (hidden_row["id"], NO_ID))
    answers = [
        lookups.anonymised(asker.post("/functions/v1/query", json={"text": "red", side: example}), example)
        for example in (hidden, missing)
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


def test_hidden_documents_have_no_embedding(asker: Caller, hidden_row: dict[str, Any]):
    assert asker.rpc("get_embeddings", document_ids=[hidden_row["id"]]) == []
    assert asker.rpc("get_embeddings", names=["/".join(HIDDEN), HIDDEN[1]]) == []
    assert asker.rpc("get_embeddings", names=[HIDDEN[1]], bucket=HIDDEN[0]) == []


def test_a_hidden_objects_state_is_that_of_one_that_does_not_exist(asker: Caller):
    hidden, missing = asker.rpc("object_states", bucket=HIDDEN[0], names=[HIDDEN[1], MISSING[1]])
    assert {**hidden, "name": ""} == {**missing, "name": ""}
    assert hidden["object_id"] is None


def test_a_bucket_of_hidden_objects_is_searched_like_one_that_does_not_exist(asker: Caller):
    answers = [
        asker.post("/functions/v1/query", json={"text": "red", "filter": {"bucket": bucket}})
        for bucket in ("half", "no-such-bucket")
    ]
    assert answers[0].content == answers[1].content
    assert (answers[0].json()["results"], answers[0].json()["notice"]) == ([], NOTICE)


def test_the_table_can_only_be_asked_by_the_service(asker: Caller):
    """A planned count would tell how many rows a condition holds for, hidden ones among them."""
    for prefer in ("count=planned", "count=exact"):
        answer = asker.http.get("/rest/v1/documents", headers={"Prefer": prefer})
        assert answer.status_code in (401, 403), answer.text


def test_an_error_of_a_policy_is_not_told(asker: Caller):
    """The message of one of the scene's policies holds the name of its object."""
    for answer in (
        asker.post("/functions/v1/query", json={"text": "red"}),
        asker.post("/functions/v1/query", json={"text": "red", "filter": {"bucket": "raising"}}),
        asker.post("/functions/v1/query", json={"text": "red", "like": "raising/bad/b.png"}),
        asker.post("/rest/v1/rpc/match_documents", json={"query_embedding": lookups.RED}),
        asker.post("/rest/v1/rpc/object_states", json={"bucket": "raising", "names": ["bad/c.png"]}),
    ):
        assert answer.status_code in (200, 404), answer.text
        assert "SECRET: " not in answer.text


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_nobody_writes_documents(asker: Caller, method: str):
    body = None if method == "DELETE" else {"content": "mine"}
    answer = asker.http.request(method, "/rest/v1/documents", params={"id": "gt.0"}, json=body)
    assert answer.status_code in (401, 403)


@pytest.fixture
def postgres(project: Running) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(project.database_url("postgres"), autocommit=True) as connection:
        yield connection


HELPERS = (  # of the private schema; callers may execute them, as the search runs as its caller
    "select neural_search.can_see(id, version) from answer",
    "select neural_search.is_public(id, version) from answer",
)


def test_no_helper_lends_another_role(postgres: psycopg.Connection[Any]):
    with (
        pytest.raises(psycopg.errors.InvalidParameterValue),
        as_role(postgres, "authenticated", scenario.CLAIMS["stranger"]) as stranger,
    ):
        stranger.execute("select neural_search.set_parameters(array['role'], array['service_role'])")


@pytest.mark.parametrize("statement", HELPERS)
def test_helpers_know_no_more_than_their_caller(
    postgres: psycopg.Connection[Any], hidden_row: dict[str, Any], statement: str
):
    ((version,),) = postgres.execute(
        "select version from storage.objects where id = %s", [hidden_row["object_id"]]
    )
    answer = "with answer as (select %s::uuid as id, %s as version) "
    with as_role(postgres, "authenticated", scenario.CLAIMS["stranger"]) as stranger:
        for object_id in (hidden_row["object_id"], uuid.uuid4()):
            rows = stranger.execute(f"{answer}{statement}".encode(), [object_id, version]).fetchall()
            assert rows == [(False,)]
