"""Images of a bucket, read from the embedded stack's Storage as any client would."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
import requests
from supabase import Client, ClientOptions, create_client
from support import example_report

from evaluation.collection import Collection
from evaluation.sources import bucket
from local.stack import Stack
from shared.errors import CollectionError, ImageTooLarge
from shared.settings import Secret
from shared.supabase import bucket_walk, credentials
from shared.supabase.storage import Storage

NAMES = count(1)
PICTURES = {
    "cats/tom.png": {"breed": "tabby"},
    "cats/kittens/tim.png": {"breed": "tabby"},
    "dogs/rex.png": {"breed": "poodle"},
    "alone.png": {},
}


@pytest.fixture(scope="module")
def supabase(embedded_stack: Stack) -> Iterator[Client]:
    mine = embedded_stack.settings
    with httpx.Client(timeout=30) as http:
        options = ClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        yield create_client(mine.supabase_url, str(mine.secret_key), options=options)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module")
def storage(embedded_stack: Stack, session: requests.Session) -> Storage:
    mine = embedded_stack.settings
    return Storage(mine.supabase_url, credentials.service(mine), session)


@pytest.fixture(scope="module")
def filled(supabase: Client) -> str:
    """A bucket: four pictures in folders, metadata, a file that is none, and a name that is not asked for."""
    name = f"evaluated-{next(NAMES)}"
    supabase.storage.create_bucket(name)
    files = supabase.storage.from_(name)
    for number, (path, metadata) in enumerate(PICTURES.items()):
        options = {"content-type": "image/png", "metadata": metadata}
        files.upload(path, example_report.picture(number), options)
    files.upload("notes.txt", b"no picture", {"content-type": "text/plain"})
    files.copy("alone.png", "cats/../../auth/v1/user.png")
    return name


@pytest.fixture
def read(storage: Storage, filled: str, tmp_path: Path) -> Callable[..., Collection]:
    def read(folder: str = "", label_key: str | None = None, max_bytes: int = 10**6) -> Collection:
        return bucket.collection(
            storage, filled, folder=folder, label_key=label_key, cache=tmp_path, max_bytes=max_bytes
        )

    return read


def labels(collection: Collection) -> dict[str, str | None]:
    return {item.key: item.label for item in collection.items}


def test_every_image_is_found_and_labelled_by_its_folder(read: Callable[..., Collection]):
    assert labels(read()) == {
        "alone.png": None,
        "cats/kittens/tim.png": "cats/kittens",
        "cats/tom.png": "cats",
        "dogs/rex.png": "dogs",
    }


def test_folders_without_a_name_are_read_as_others_are(storage: Storage, supabase: Client, tmp_path: Path):
    name = f"evaluated-{next(NAMES)}"
    supabase.storage.create_bucket(name)
    files = supabase.storage.from_(name)
    files.upload("a/c.png", example_report.picture(1), {"content-type": "image/png"})
    for path in ("/x.png", "a//b.png"):
        files.copy("a/c.png", path)  # the client's upload would leave out the empty part
    found = bucket.collection(storage, name, folder="", label_key=None, cache=tmp_path, max_bytes=10**6)
    assert labels(found) == {"/x.png": None, "a//b.png": "a/", "a/c.png": "a"}
    assert all(item.read() for item in found.items)


def test_a_folder_of_it_is_read_with_labels_below_that_folder(read: Callable[..., Collection], filled: str):
    found = read("cats/")
    assert found.name == f"bucket:{filled}/cats"
    assert labels(found) == {"cats/kittens/tim.png": "kittens", "cats/tom.png": None}


def test_labels_come_from_the_metadata_that_uploaders_attached(read: Callable[..., Collection]):
    assert labels(read(label_key="breed")) == {
        "alone.png": None,
        "cats/kittens/tim.png": "tabby",
        "cats/tom.png": "tabby",
        "dogs/rex.png": "poodle",
    }


def test_a_key_that_no_image_has_is_named(read: Callable[..., Collection]):
    with pytest.raises(CollectionError, match=r"None of the 4 images .+ has 'colour' in its metadata"):
        read(label_key="colour")


def test_long_listings_are_read_page_by_page(
    read: Callable[..., Collection], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bucket_walk, "PAGE", 1)
    assert len(read().items) == 4


def test_a_bucket_beyond_the_bound_is_refused_with_a_remedy(
    read: Callable[..., Collection], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bucket, "MAX_OBJECTS", 2)
    with pytest.raises(CollectionError, match=r"more than 2 objects .+ Name a folder of it"):
        read()


def test_files_that_are_no_images_count_for_the_bound_too(
    storage: Storage, supabase: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = f"evaluated-{next(NAMES)}"
    supabase.storage.create_bucket(name)
    for path in ("a.txt", "b.txt", "c.txt"):
        supabase.storage.from_(name).upload(path, b"no picture", {"content-type": "text/plain"})
    supabase.storage.from_(name).upload("d.png", example_report.picture(1), {"content-type": "image/png"})
    monkeypatch.setattr(bucket_walk, "PAGE", 1)
    monkeypatch.setattr(bucket, "MAX_OBJECTS", 2)
    with pytest.raises(CollectionError, match="more than 2 objects"):
        bucket.collection(storage, name, folder="", label_key=None, cache=tmp_path, max_bytes=10**6)


def test_an_image_is_downloaded_once_a_run(
    read: Callable[..., Collection], supabase: Client, filled: str, tmp_path: Path
):
    supabase.storage.from_(filled).upload(
        "passing/by.png", example_report.picture(9), {"content-type": "image/png"}
    )
    (item,) = (item for item in read("passing").items)
    assert item.read() == example_report.picture(9)
    supabase.storage.from_(filled).remove(["passing/by.png"])
    assert item.read() == example_report.picture(9)
    assert len(list(tmp_path.iterdir())) == 1


def test_an_image_beyond_the_limit_is_not_downloaded(read: Callable[..., Collection]):
    with pytest.raises(ImageTooLarge):
        read(max_bytes=10).items[0].read()


def test_whoever_may_not_see_a_bucket_is_told_so(
    embedded_stack: Stack, session: requests.Session, filled: str, tmp_path: Path
):
    mine = dataclasses.replace(embedded_stack.settings, secret_key=Secret(""))
    anon = Storage(mine.supabase_url, credentials.caller({}, mine.publishable_key), session)
    with pytest.raises(
        CollectionError, match=rf"There are no images in bucket:{filled} that this key may see"
    ):
        bucket.collection(anon, filled, folder="", label_key=None, cache=tmp_path, max_bytes=10**6)
