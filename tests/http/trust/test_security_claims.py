"""The statements of docs/security.md hold."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import jwt
import psycopg
import pytest
from support import lookups, scenario
from support.lookups import Caller
from support.running_project import Running

from cli.installer import releases
from shared.runtime.model_registry import ModelRegistry
from shared.settings import CHECKOUT
from shared.testing import ColourEmbedder

SECURITY = (CHECKOUT / "docs" / "security.md").read_text()
BOMB = {"content": b"the decoder would say 422", "headers": {"Content-Type": "image/png"}}

# The functions that build SQL from text. Its parts are quoted by %L and %I, or are text of our own.
DYNAMIC = {
    "neural_search.ask",  # the operator's expression, too: declared_values
    "neural_search.ask_as",  # the operator's question
    "neural_search.ask_documents",
    "neural_search.change_documents",
    "neural_search.enable",
    "neural_search.find_matches",
    "neural_search.may_write",
    "neural_search.policies_work",
    "neural_search.visible_vectors",
    "public.explain_object",
}


@pytest.fixture
def anon(project: Running) -> Caller:
    return lookups.caller(project, "anon")


@pytest.fixture
def member(project: Running) -> Caller:
    return lookups.caller(project, "member")


@contextmanager
def revoked(project: Running, function: str) -> Iterator[None]:
    """Without anon's right to execute it; that anon was admitted is forgotten before and after."""
    project.execute(f"revoke execute on function {function} from anon")
    project.apps["query"].extensions.pop("authentication", None)
    try:
        yield
    finally:
        project.execute(f"grant execute on function {function} to anon")
        project.apps["query"].extensions.pop("authentication", None)


def test_anon_can_be_shut_out_before_anything_is_decoded(project: Running, anon: Caller, member: Caller):
    with revoked(project, "public.active_model"):
        answer = anon.post("/functions/v1/query", **BOMB)
        assert (answer.status_code, answer.json()["type"]) == (403, "database-forbidden")
        assert httpx.post(f"{project.url}/functions/v1/query", **BOMB).status_code == 403
        assert anon.http.get("/functions/v1/query/health").json()["database"]["error"] == "database-forbidden"
        assert anon.http.get("/functions/v1/query/live").status_code == 200
        assert member.query(text="red")
    assert anon.query(text="red")


CALLS = {
    "match_documents": {"query_embedding": lookups.RED},
    "search_documents": {"query_embedding": lookups.RED, "query_text": "reds"},
    "recommend_documents": {"likes": [{"embedding": lookups.RED}]},
    "similar_documents": {"name": f"{scenario.MEMBER}/b.png", "bucket": "folders"},
    "get_embeddings": {"names": ["a.png"]},
    "object_states": {"bucket": "published", "names": ["a.png"]},
    "list_fingerprints": {},
    "confirm_duplicates": {"first_ids": [1], "second_ids": [1]},
}
ANONS = """
select proname from pg_proc where pronamespace = 'public'::regnamespace
  and has_function_privilege('anon', oid, 'execute') and obj_description(oid, 'pg_proc') is not null
"""  # of those of the scene none has a comment


def test_anon_can_be_shut_out_of_each_function(project: Running, anon: Caller, member: Caller):
    with psycopg.connect(project.database_url("postgres")) as connection:
        assert {name for (name,) in connection.execute(ANONS)} == {"active_model", *CALLS}
    for function, arguments in CALLS.items():
        with revoked(project, f"public.{function}"):
            assert anon.post(f"/rest/v1/rpc/{function}", json=arguments).status_code == 401
            member.rpc(function, **arguments)


def test_a_url_works_for_ten_minutes_and_for_one_object(member: Caller):
    [result] = member.query(text="red", filter={"bucket": "folders"})
    token = result["url"].partition("?token=")[2]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["url"] == f"folders/{scenario.MEMBER}/b.png"
    assert claims["exp"] - time.time() <= 600
    elsewhere = result["url"].replace(f"{scenario.MEMBER}/b.png", f"{scenario.OWNER}/a.png")
    assert httpx.get(elsewhere).status_code == 400


def test_the_query_function_holds_no_secret(project: Running):
    mine = project.apps["query"].extensions["settings"]
    assert (mine.secret_key, mine.webhook_secrets, mine.database_url) == ("", (), "")


def test_no_token_is_logged_or_told(
    project: Running,
    member: Caller,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def broken(name: str) -> ColourEmbedder:
        raise RuntimeError("the model can't be loaded")

    extensions = project.apps["query"].extensions
    monkeypatch.setitem(extensions, "models", ModelRegistry(["efficientnet-lite0-concepts"], broken))
    monkeypatch.delitem(extensions, "search", raising=False)
    answer = member.post("/functions/v1/query", json={"text": "red"})
    extensions.pop("search")
    logged = capsys.readouterr().err
    assert (answer.status_code, answer.json()["type"]) == (500, "internal")
    assert "the model can't be loaded" in logged and "the model" not in answer.text
    for secret in (member.http.headers["Authorization"].removeprefix("Bearer "), project.keys.publishable):
        assert secret not in logged + answer.text


def test_every_function_that_builds_sql_is_known():
    bodies = re.findall(r"create or replace function (\S+?)\((.*?)\n\$\$;", releases.source_text(), re.DOTALL)
    execution = r"\bexecute\s+(format|'|[\w.]+\s*(\(|;|into|using|loop))"
    built = {name for name, body in bodies if re.search(execution, body)}
    assert built == DYNAMIC


QUOTES = ("'", "''", "' or true --", '"', "\\", "%L", "%1$s", "$1", "'; select 1; --", "{}", "a,b", "{a,b}")


@pytest.mark.parametrize("text", QUOTES)
def test_no_text_of_a_caller_becomes_sql(anon: Caller, text: str):
    for narrow in (
        {"bucket": text},
        {"prefix": text},
        {"owner": text},
        {"mime_type": text},
        {"mime_type": [text, "image/png", text]},
        {"metadata": {text: text}},
    ):
        rows = anon.match(filter=narrow)
        assert bool(rows) == (isinstance(narrow.get("mime_type"), list))
        assert {(row["bucket_id"], row["content"]) for row in rows} <= anon.expected
    refused = anon.post("/rest/v1/rpc/match_documents", json={"query_embedding": lookups.RED, "model": text})
    assert (refused.status_code, refused.json()["code"]) == (400, "22023")


def test_every_definer_is_in_the_docs(project: Running):
    with psycopg.connect(project.database_url("postgres")) as connection:
        rows = connection.execute(
            "select format('%s.%s', pronamespace::regnamespace, proname) from pg_proc "
            "where prosecdef and pronamespace in ('public'::regnamespace, 'neural_search'::regnamespace)"
        ).fetchall()
    documented = set(re.findall(r"^\| `((?:public|neural_search)\.\w+)` \|", SECURITY, re.MULTILINE))
    assert documented == {name for (name,) in rows}
