"""The whole path over real HTTP and a real Postgres: uploads become searchable, as the policies say."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import jwt
import pytest
from support.databases import clone
from support.running_project import Running, running

from local.postgres import Cluster
from shared.testing import picture

PNG = {"content-type": "image/png"}
ODD = "odd/2025-01-01T12:30:00 (1)?&=+.png"


@pytest.fixture(scope="module")
def project(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("project")
    with clone(cluster, template) as database, running(database.url, folder) as everything:
        yield everything


NAMES = count(1)


@pytest.fixture
def name() -> str:
    return f"{next(NAMES)}/picture.png"


def upload(project: Running, name: str, data: bytes, bucket: str = "images", **options: str) -> None:
    project.service().storage.from_(bucket).upload(name, data, {**PNG, **options})


def searchable(project: Running, name: str, data: bytes, bucket: str = "images", **options: str) -> None:
    upload(project, name, data, bucket, **options)
    project.eventually(lambda: project.state(name, bucket)[0], "searchable")


def test_an_uploaded_image_is_found_by_text_by_image_and_by_name(project: Running, name: str):
    searchable(project, name, picture("red"))
    searchable(project, f"{name}.blue.png", picture("blue"))
    narrow = {"bucket": "images", "prefix": name.split("/")[0] + "/"}
    image = base64.b64encode(picture("#ff1010")).decode()
    assert project.search(text="red", filter=narrow)[0] == f"images/{name}"
    assert project.search(image=image, filter=narrow)[0] == f"images/{name}"
    assert project.search(like=f"images/{name}", filter=narrow) == [f"images/{name}.blue.png"]


def test_the_index_follows_an_overwrite_a_move_and_a_deletion(project: Running, name: str):
    bucket = project.service().storage.from_("images")
    narrow = {"prefix": name.split("/")[0] + "/"}
    searchable(project, name, picture("red"))
    bucket.upload(name, picture("blue"), {**PNG, "upsert": "true"})
    project.eventually(
        lambda: project.search(text="blue", min_similarity=0.9, filter=narrow), [f"images/{name}"]
    )
    bucket.move(name, f"{name}.moved.png")
    assert project.search(text="blue", filter=narrow) == [f"images/{name}.moved.png"]
    bucket.remove([f"{name}.moved.png"])
    assert project.search(text="blue", filter=narrow) == []


def test_a_name_that_looks_like_a_url_is_downloaded_and_signed_all_the_same(project: Running):
    answer = project.post(
        "query/embeddings",
        params={"wait": "1", "bucket": "images", "name": ODD},
        content=picture("red"),
        headers={"Content-Type": "image/png"},
    )
    assert (answer.status_code, answer.json()["state"]) == (201, "searchable")
    [found] = project.post("query", json={"text": "red", "filter": {"prefix": "odd/"}}).json()["results"]
    assert found["name"] == ODD
    assert httpx.get(found["url"]).content == picture("red")


@pytest.mark.parametrize(
    ("data", "state", "cause"),
    [
        (b"<html>not found</html>", "skipped", "NotAnImage"),
        (b"", "skipped", "EmptyImage"),
        (picture(size=(300, 300))[:120], "failed", "IncompleteImage"),
    ],
    ids=["html", "empty", "cut off"],
)
def test_a_bad_image_ends_with_its_cause_and_harms_no_other(
    project: Running, name: str, data: bytes, state: str, cause: str
):
    upload(project, name, data)
    searchable(project, f"{name}.good.png", picture("red"))
    project.eventually(lambda: project.state(name)[0], state)
    rows = project.service().rpc("list_embedding_jobs", {"job_state": state}).execute().data
    assert [row["error_class"] for row in rows if row["name"] == name] == [cause]


def webhook(project: Running, body: object, secret: str | None = None) -> httpx.Response:
    headers = {"x-webhook-secret": secret or project.keys.webhook}
    return project.post("embed_on_upload", json=body, headers=headers)


def test_a_webhook_that_comes_again_or_for_nothing_changes_nothing(project: Running, name: str):
    searchable(project, name, picture("red"))
    [row] = project.service().rpc("object_states", {"bucket": "images", "names": [name]}).execute().data
    body = {
        "type": "UPDATE",
        "schema": "storage",
        "table": "objects",
        "record": {"id": row["object_id"]},
        "old_record": None,
    }
    assert webhook(project, body).json() == {"unchanged": 1}
    body["record"] = {"id": "00000000-0000-0000-0000-000000000000"}
    assert webhook(project, body).json() == {"gone": 1}
    assert webhook(project, body, "wrong").status_code == 401


def test_a_kick_does_what_no_webhook_announced(project: Running, name: str):
    rename = "select vault.update_secret(id, new_name => %s) from vault.decrypted_secrets where name = %s"
    project.execute(rename, "hidden", "neural_search_embed_url")
    try:
        for number in range(3):
            upload(project, f"{name}.{number}.png", picture("red"))
        assert project.state(f"{name}.2.png")[0] == "pending"
        answer = webhook(project, {"type": "KICK", "limit": 50})
    finally:
        project.execute(rename, "neural_search_embed_url", "hidden")
    assert set(answer.json()) <= {"embedded"}  # an earlier call may still be at work and take them
    project.eventually(lambda: project.state(f"{name}.2.png")[0], "searchable")


def test_a_bucket_that_is_not_indexed_is_left_alone(project: Running, name: str):
    project.service().storage.create_bucket("plain")
    upload(project, name, picture("red"), "plain")
    assert project.state(name, "plain")[0] == "ignored"


def forged(project: Running) -> str:
    return jwt.encode({"role": "service_role", "exp": 2**31}, "x" * 32, "HS256")


@pytest.mark.parametrize("kind", ["forged", "expired", "nonsense"])
def test_a_token_that_is_worth_nothing_never_reaches_the_decoder(project: Running, kind: str):
    tokens = {
        "forged": forged(project),
        "expired": project.keys.mint("authenticated", {"sub": "a"}, lifetime=-3600),
        "nonsense": "nonsense",
    }
    for path in ("query", "query/embeddings?bucket=images&name=x.png"):
        answer = project.post(
            path,
            content=b"the decoder would say 422",
            headers={"Authorization": f"Bearer {tokens[kind]}", "Content-Type": "image/png"},
        )
        assert (answer.status_code, answer.json()["type"]) == (401, "unauthorized")


def test_an_unknown_key_is_refused(project: Running):
    answer = project.post("query", json={"text": "red"}, headers={"apikey": "sb_publishable_unknown"})
    assert (answer.status_code, answer.json()["type"]) == (401, "unauthorized")


def test_everybody_finds_only_what_the_policies_let_them_see(project: Running):
    service = project.service()
    service.storage.create_bucket("folders")
    service.rpc("index_bucket", {"bucket_id": "folders"}).execute()
    project.execute(
        "create policy folders on storage.objects for select to authenticated using "
        "(bucket_id = 'folders' and (storage.foldername(name))[1] = auth.jwt() ->> 'sub')"
    )
    for who in ("ann", "bob"):
        searchable(project, f"{who}/1.png", picture("red"), "folders")
        searchable(project, f"{who}/2.png", picture("maroon"), "folders")

    asked = {"text": "red", "filter": {"bucket": "folders"}}
    assert project.search(project.user("ann"), **asked) == ["folders/ann/1.png", "folders/ann/2.png"]
    assert project.search(project.user("bob"), **asked) == ["folders/bob/1.png", "folders/bob/2.png"]
    assert project.search(**asked) == []
    assert len(project.search(project.keys.service_role, **asked)) == 4

    # Another's image is no example either: it is as if it weren't there.
    headers = {"Authorization": f"Bearer {project.user('ann')}"}
    answer = project.post("query", json={"like": "folders/bob/1.png"}, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (404, "object-not-found")


def test_urls_are_signed_as_the_caller_and_show_the_image(project: Running, name: str):
    searchable(project, name, picture("red"))
    asked = {"text": "red", "filter": {"prefix": name}}
    [found] = project.post("query", json=asked).json()["results"]
    assert httpx.get(found["url"]).content == picture("red")


def send(project: Running, name: str, data: bytes, bucket: str = "images", **fields: str) -> httpx.Response:
    return project.post(
        "query/embeddings?wait=1",
        data={"bucket": bucket, "name": name, **fields},
        files={"image": ("picture.png", data, "image/png")},
    )


def test_an_upload_can_be_waited_for(project: Running, name: str):
    answer = send(project, name, picture("red"))
    assert (answer.status_code, answer.json()["state"]) == (201, "searchable")
    assert project.search(text="red", filter={"prefix": name}) == [f"images/{name}"]
    assert send(project, name, picture("blue")).json()["type"] == "object-exists"
    answer = send(project, name, picture("blue"), upsert="true")
    assert (answer.status_code, answer.json()["state"]) == (201, "searchable")


def test_an_upload_says_why_it_will_not_be_searchable(project: Running, name: str):
    project.service().storage.create_bucket("open")
    project.execute("create policy open_all on storage.objects for all to anon using (bucket_id = 'open')")
    answer = send(project, name, picture("red"), "open")
    assert (answer.status_code, answer.json()["state"]) == (202, "ignored")


def test_an_upload_goes_only_where_the_policies_let_the_caller(project: Running, name: str):
    project.service().storage.create_bucket("closed")
    answer = send(project, name, picture("red"), "closed")
    assert (answer.status_code, answer.json()["type"]) == (403, "storage-forbidden")
    assert send(project, name, picture("red"), "nowhere").status_code in (403, 404)
    assert send(project, name, b"<svg/>").json()["type"] == "not-an-image"


def test_supabases_own_client_searches_through_functions_invoke(project: Running, name: str):
    searchable(project, name, picture("red"))
    options = {"body": {"text": "red", "filter": {"prefix": name}}}
    answer = json.loads(project.supabase().functions.invoke("query", options))
    assert [one["name"] for one in answer["results"]] == [name]


def test_health_sees_the_real_database(project: Running):
    headers = {"x-webhook-secret": project.keys.webhook}
    for function in ("query", "embed_on_upload"):
        answer = httpx.get(f"{project.url}/functions/v1/{function}/health", headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok"), answer.text
