"""Uploads: checked before they are stored, and waited for honestly."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import requests
import responses

from shared import images
from shared.errors import InvalidQuery, NotAnImage
from shared.runtime.limiter import ConcurrencyLimiter
from shared.search import uploads
from shared.search.uploads import Upload
from shared.settings import Secret
from shared.supabase import credentials
from shared.supabase.database import Database, http_client
from shared.supabase.storage import Storage
from shared.testing import RpcTransport, picture

URL = "http://supabase.test"
CALLER = credentials.caller({}, Secret("ours"))


def store(data: bytes) -> str:
    upload = Upload(bucket="images", name="a.png", data=data)
    return uploads.store(
        Storage(URL, CALLER, requests.Session()),
        upload,
        limiter=ConcurrencyLimiter(running=1, waiting=0),
        decode=partial(images.decode, max_bytes=10_000, max_pixels=10_000),
    )


def test_an_upload_is_declared_as_what_its_bytes_are():
    with responses.RequestsMock() as storage:
        storage.post(f"{URL}/storage/v1/object/images/a.png", json={"Key": "images/a.png", "Id": "7"})
        assert store(picture(format="WEBP")) == "7"
        assert b"Content-Type: image/webp" in storage.calls[0].request.body


def test_what_could_never_be_searched_is_refused_before_it_is_stored():
    with responses.RequestsMock(), pytest.raises(NotAnImage):
        store(b"<svg/>")


@pytest.mark.parametrize("place", [{"bucket": "", "name": "a.png"}, {"bucket": "images", "name": " / "}])
def test_an_upload_without_a_place_is_refused(place: dict[str, str]):
    with pytest.raises(InvalidQuery, match="is empty"):
        Upload(data=b"", **place)


@pytest.mark.parametrize("name", ["a" * 1200, "é" * 600])
def test_an_upload_to_a_name_that_no_storage_takes_is_refused(name: str):
    with pytest.raises(InvalidQuery, match=r"more than 1200 bytes\. Choose a shorter name"):
        Upload(data=b"", bucket="images", name=name)


def wait(*states: str) -> tuple[str, int]:
    """The state that a wait of 30 s ends with, and how often it asked."""
    answers = iter(states)
    row = {"name": "a.png", "object_id": "7", "reason": None}
    transport = RpcTransport(object_states=lambda _: [{**row, "state": next(answers, states[-1])}])
    database = Database(URL, CALLER, http_client(transport))
    now: list[float] = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    given: dict[str, Any] = {"sleep": sleep, "clock": lambda: now[0]}
    state = uploads.wait(database, "images", "a.png", **given)
    return state.state, len(transport.calls)


@pytest.mark.parametrize("end", ["searchable", "skipped", "failed", "ignored", "unknown"])
def test_waiting_ends_with_whatever_is_settled(end: str):
    assert wait("pending", "pending", end) == (end, 3)


def test_waiting_too_long_ends_with_the_truth():
    assert wait("pending")[0] == "pending"
