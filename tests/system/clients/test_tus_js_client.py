"""An unmodified tus-js-client, as the dashboard and large uploads use it."""

from __future__ import annotations

from client_actions import TusJs
from support.running_project import Running

from shared.testing import picture

DATA = picture("red", (300, 300))


def stored(project: Running, name: str) -> bytes:
    data: bytes = project.service().storage.from_("images").download(name)
    return data


def test_an_upload_that_was_broken_off_is_resumed_and_found(project: Running, tus_js: TusJs, folder: str):
    name = f"{folder}a.png"
    broken = tus_js.send(name, DATA, stop_after=200)
    assert broken["accepted"] == 200
    assert not project.service().storage.from_("images").exists(name)
    assert tus_js.send(name, DATA, uploadUrl=broken["url"]) == {"url": broken["url"], "done": True}
    assert stored(project, name) == DATA
    project.eventually(lambda: project.search(text="red", filter={"prefix": folder}), [f"images/{name}"])


def test_the_first_bytes_may_come_with_the_creation(project: Running, tus_js: TusJs, folder: str):
    name = f"{folder}a.png"
    assert tus_js.send(name, DATA, uploadDataDuringCreation=True)["done"]
    assert tus_js.send(f"{name}2", DATA, uploadDataDuringCreation=True, chunkSize=10**6)["done"]
    assert stored(project, name) == stored(project, f"{name}2") == DATA


def test_a_length_may_be_told_at_the_end(project: Running, tus_js: TusJs, folder: str):
    assert tus_js.send(f"{folder}a.png", DATA, uploadLengthDeferred=True)["done"]
    assert stored(project, f"{folder}a.png") == DATA


def test_a_signed_upload_needs_no_key(project: Running, tus_js: TusJs, folder: str):
    name = f"{folder}a.png"
    token = project.supabase().storage.from_("images").create_signed_upload_url(name)["token"]
    assert tus_js.send(name, DATA, headers={"x-signature": token}, path="/sign")["done"]
    assert stored(project, name) == DATA


def test_errors_are_the_real_servers(tus_js: TusJs, folder: str):
    tus_js.upload(f"{folder}a.png", DATA)
    answer = tus_js.send(f"{folder}a.png", DATA)
    assert (answer["status"], answer["error"]) == (409, "The resource already exists")
    answer = tus_js.send(f"{folder}caf\xe9.png", DATA)
    assert (answer["status"], answer["error"]) == (400, f"Invalid key: {folder}caf\xe9.png")
    answer = tus_js.send(f"{folder}b.png", DATA, headers={"x-signature": "nonsense"}, path="/sign")
    assert (answer["status"], answer["error"]) == (400, "Invalid Compact JWS")
