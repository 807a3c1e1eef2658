"""An unmodified supabase-js: its users' calls, beside the changes that every client makes."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from client_actions import SupabaseJs
from support.running_project import Running

from shared.testing import picture

KINDS = ("File", "Blob", "ArrayBuffer")


@pytest.fixture
def red(supabase_js: SupabaseJs, folder: str) -> str:
    """The name of a red picture in Storage."""
    supabase_js.upload(f"{folder}red.png", picture("red"))
    return f"{folder}red.png"


def test_a_download_is_what_was_uploaded(supabase_js: SupabaseJs, red: str):
    assert base64.b64decode(supabase_js.call("download", red)["base64"]) == picture("red")


def test_a_name_that_is_taken_needs_an_upsert(supabase_js: SupabaseJs, red: str):
    error = supabase_js.ask("upload", red, picture("blue"), {"contentType": "image/png"})["error"]
    assert (error["statusCode"], error["message"]) == ("409", "The resource already exists")
    supabase_js.call("update", red, picture("blue"), {"contentType": "image/png"})
    assert base64.b64decode(supabase_js.call("download", red)["base64"]) == picture("blue")


def test_metadata_and_cache_control_are_kept(supabase_js: SupabaseJs, folder: str):
    options = {"contentType": "image/png", "cacheControl": "60", "metadata": {"camera": "K1"}}
    supabase_js.call("upload", f"{folder}a.png", picture("red"), options)
    told = supabase_js.call("info", f"{folder}a.png")
    assert (told["contentType"], told["cacheControl"]) == ("image/png", "max-age=60")
    assert told["metadata"] == {"camera": "K1"}


def test_a_listing_has_names_and_sizes(supabase_js: SupabaseJs, red: str, folder: str):
    [listed] = supabase_js.call("list", folder.rstrip("/"), {"limit": 10})
    assert listed["name"] == "red.png"
    assert listed["metadata"]["size"] == len(picture("red"))


def test_existence_is_told(supabase_js: SupabaseJs, red: str):
    assert supabase_js.ask("exists", red)["data"] is True
    assert supabase_js.ask("exists", f"{red}.none")["data"] is False


def test_signed_urls_open_without_a_key(supabase_js: SupabaseJs, red: str):
    signed = supabase_js.call("createSignedUrl", red, 60)
    assert httpx.get(signed["signedUrl"]).content == picture("red")
    good, bad = supabase_js.call("createSignedUrls", [red, f"{red}.none"], 60)
    assert httpx.get(good["signedUrl"]).content == picture("red")
    assert bad["error"] == "Either the object does not exist or you do not have access to it"


def test_an_upload_to_a_signed_url_is_found(project: Running, supabase_js: SupabaseJs, folder: str):
    name = f"{folder}signed.png"
    token = supabase_js.call("createSignedUploadUrl", name)["token"]
    options = {"contentType": "image/png"}
    supabase_js.call("uploadToSignedUrl", name, token, picture("red"), options)
    project.eventually(lambda: project.search(text="red", filter={"prefix": folder}), [f"images/{name}"])
    again = supabase_js.ask("uploadToSignedUrl", name, f"{token}x", picture("blue"), options)
    assert again["error"]["message"] == "signature verification failed"


def test_match_documents_takes_its_original_three_arguments(
    project: Running, supabase_js: SupabaseJs, red: str
):
    project.eventually(lambda: project.state(red)[0], "searchable")
    [known] = supabase_js.call("rpc", "get_embeddings", {"names": [f"images/{red}"]}, on="rpc")
    asked = {
        "query_embedding": json.loads(known["embedding"]),
        "similarity_threshold": 0.78,
        "match_count": 500,
    }
    rows = supabase_js.call("rpc", "match_documents", asked, on="rpc")
    [row] = [row for row in rows if row["content"] == red]
    assert row["similarity"] == pytest.approx(1, abs=1e-3)
    assert {"id", "content", "similarity"} <= row.keys()
    asked["query_embedding"] = known["embedding"]  # its string form works as well
    assert red in [row["content"] for row in supabase_js.call("rpc", "match_documents", asked, on="rpc")]


def test_the_query_function_is_invoked(project: Running, supabase_js: SupabaseJs, red: str, folder: str):
    project.eventually(lambda: project.state(red)[0], "searchable")
    body = {"text": "red", "filter": {"prefix": folder}}
    answer = supabase_js.call("invoke", "query", {"body": body}, on="functions")
    [found] = answer["results"]
    assert (found["name"], found["bucket"]) == (red, "images")
    assert httpx.get(found["url"]).content == picture("red")


@pytest.mark.parametrize(
    "body",
    [
        *({"base64": base64.b64encode(picture("red")).decode(), "as": kind} for kind in KINDS),
        '{"text": "red"}',
    ],
    ids=[*KINDS, "JSON string"],
)
def test_the_query_function_takes_any_body_that_invoke_sends(
    project: Running, supabase_js: SupabaseJs, red: str, body: Any
):
    project.eventually(lambda: project.state(red)[0], "searchable")
    answer = supabase_js.call("invoke", "query", {"body": body}, on="functions")
    assert answer["results"]


def test_errors_are_the_real_servers(supabase_js: SupabaseJs, folder: str):
    error = supabase_js.ask("move", f"{folder}none.png", f"{folder}b.png")["error"]
    assert (error["status"], error["message"]) == (400, "Object not found")
    error = supabase_js.ask("upload", f"{folder}caf\xe9.png", b"x", {})["error"]
    assert error["message"] == f"Invalid key: {folder}caf\xe9.png"


def test_a_user_signs_in_sees_what_is_theirs_and_signs_out(supabase_js: SupabaseJs, folder: str):
    ada = {"email": "ada@example.com", "password": "ada-demo"}
    session = supabase_js.call("signInWithPassword", ada, on="auth")["session"]
    try:
        assert supabase_js.call("getUser", on="auth")["user"]["email"] == "ada@example.com"
        claims = supabase_js.call("getClaims", on="auth")  # verified by the published keys, not by asking
        assert (claims["header"]["alg"], claims["claims"]["role"]) == ("ES256", "authenticated")
        renewed = supabase_js.call("refreshSession", on="auth")["session"]
        assert renewed["refresh_token"] != session["refresh_token"]
        assert supabase_js.ask("list", "", {"limit": 1})["error"] is None
    finally:
        assert supabase_js.ask("signOut", on="auth")["error"] is None
    assert supabase_js.call("getSession", on="auth")["session"] is None


def test_a_wrong_password_is_told_as_such(supabase_js: SupabaseJs):
    wrong = {"email": "ada@example.com", "password": "ada"}
    error = supabase_js.ask("signInWithPassword", wrong, on="auth")["error"]
    assert (error["status"], error["message"]) == (400, "Invalid login credentials")
