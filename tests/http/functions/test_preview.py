"""GET /preview of query: the object that the token in its address is for, as a small WebP."""

from __future__ import annotations

import io
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import numpy as np
import pytest
import requests
import responses
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from shared.errors import BrokenImage, DecoderCrashed
from shared.images import DecodedImage
from shared.images.sandbox.budget import Budget
from shared.runtime.limiter import ConcurrencyLimiter
from shared.search.previews import AT_ONCE, SIZES, Cache, webp
from shared.testing import RpcTransport, picture

SIGNED = "http://supabase.test/storage/v1/object/sign/images/a/1.png"
WANTED = {"bucket": "images", "name": "a/1.png", "token": "t.o.k"}
RED = picture("red", (1200, 600))


@pytest.fixture
def storage() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def client(serve: Callable[..., Flask], storage: responses.RequestsMock) -> FlaskClient:
    return serve("query", SUPABASE_SECRET_KEY="", MAX_IMAGE_BYTES="200000").test_client()


def ask(client: FlaskClient, **changes: str) -> TestResponse:
    return client.get("/preview", query_string=WANTED | changes)


def refused(answer: TestResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json"
    return answer.status_code, answer.json["type"]


def test_a_preview_is_a_small_webp_for_the_askers_own_cache(
    client: FlaskClient, storage: responses.RequestsMock
):
    storage.get(SIGNED, RED)
    answer = ask(client)
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    with Image.open(io.BytesIO(answer.data)) as shown:
        assert (shown.format, shown.size) == ("WEBP", (400, 200))
    assert answer.headers["Cache-Control"] == "private, max-age=600"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_storage_is_asked_by_the_token_alone(client: FlaskClient, storage: responses.RequestsMock):
    storage.get(SIGNED, RED)
    headers = {"Authorization": "Bearer user", "apikey": "sb_publishable_theirs", "Cookie": "a=b"}
    client.get("/preview", query_string=WANTED, headers=headers)
    [call] = storage.calls
    assert call.request.url == f"{SIGNED}?token=t.o.k"
    assert not {"authorization", "apikey", "cookie"} & {name.lower() for name in call.request.headers}


def test_without_a_token_only_a_public_bucket_is_asked(client: FlaskClient, storage: responses.RequestsMock):
    storage.get(SIGNED.replace("/sign/", "/public/"), RED)
    answer = client.get("/preview", query_string={"bucket": "images", "name": "a/1.png"})
    assert answer.status_code == 200


def test_a_large_preview_is_for_browsers_that_cant_show_the_original(
    client: FlaskClient, storage: responses.RequestsMock
):
    storage.get(SIGNED, RED)
    with Image.open(io.BytesIO(ask(client, size="large").data)) as shown:
        assert shown.size == (1200, 600)  # never larger than the original


INVALID = {"statusCode": "400", "error": "InvalidJWT", "message": "signature verification failed"}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, INVALID, (400, "storage-refused")),
        (400, INVALID | {"message": '"exp" claim timestamp check failed'}, (400, "storage-refused")),
        (400, INVALID | {"error": "InvalidSignature"}, (400, "storage-refused")),
        (400, {"statusCode": "404", "error": "not_found", "message": "gone"}, (404, "object-not-found")),
        (302, {}, (503, "storage-unavailable")),
        (304, None, (503, "storage-unavailable")),
    ],
    ids=["forged", "expired", "another object's", "of an object that is gone", "sent on", "unasked 304"],
)
def test_what_storage_refuses_never_reaches_the_decoder(
    client: FlaskClient,
    storage: responses.RequestsMock,
    status: int,
    body: dict[str, str] | None,
    expected: tuple[int, str],
):
    client.application.extensions["decoders"] = None  # asked for anything it fails with a 500
    content = {"body": b""} if body is None else {"json": body}
    storage.get(SIGNED, status=status, headers={"Location": "http://elsewhere.test/"}, **content)
    assert refused(ask(client)) == expected


LEAVING: dict[str, dict[str, str]] = {
    "a name with dots": {"name": "../../../rest/v1/documents"},
    "a bucket of dots": {"bucket": ".."},
    "a name with a null": {"name": "a\0.png"},
    "a name of two lines": {"name": "a.png\r\nHost: elsewhere"},
    "a bucket with a control character": {"bucket": "im\x7fages"},
    "dots behind backslashes": {"name": "a\\..\\..\\b"},
    "one dot": {"name": "a/./b"},
    "a slash in the bucket": {"bucket": "images/.."},
    "no bucket": {"bucket": ""},
    "no name": {"name": ""},
    "slashes for a name": {"name": "//"},
    "a name that no Storage takes": {"name": "é" * 600},
    "an unknown size": {"size": "huge"},
}


@pytest.mark.parametrize("changes", LEAVING.values(), ids=LEAVING)
def test_an_address_that_makes_no_sense_asks_nobody(
    client: FlaskClient, storage: responses.RequestsMock, changes: dict[str, str]
):
    assert refused(ask(client, **changes)) == (400, "invalid-query")
    assert len(storage.calls) == 0


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a?token=x", "images/a%3Ftoken%3Dx"),
        ("a#b", "images/a%23b"),
        ("http://elsewhere.test/a", "images/http%3A//elsewhere.test/a"),
        ("@elsewhere.test", "images/%40elsewhere.test"),
        ("%2e%2e/a", "images/%252e%252e/a"),
    ],
)
@pytest.mark.parametrize("token", ["t", "t&token=u#/../..", "t\r\nHost: elsewhere.test"])
def test_no_name_and_no_token_leads_anywhere_else(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, name: str, path: str, token: str
):
    asked: list[str] = []

    def send(_self: Any, request: Any, **_options: Any) -> Any:
        asked.append(request.url)
        raise requests.ConnectionError("nobody there")

    monkeypatch.setattr(requests.Session, "send", send)
    assert refused(ask(client, name=name, token=token)) == (503, "storage-unavailable")
    [url] = asked
    before, _, sent = url.partition("?token=")
    assert before == f"http://supabase.test/storage/v1/object/sign/{path}"
    assert not set("&#/?\r\n") & set(sent)


def bomb() -> bytes:
    """A PNG of few bytes that tells of 40,000 x 40,000 pixels."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<svg/>", (422, "not-an-image")),
        (b"", (422, "empty-image")),
        (bomb(), (422, "too-many-pixels")),
    ],
    ids=["no image", "nothing", "a bomb"],
)
def test_no_honest_image_is_refused_and_decoded_once_a_version(
    client: FlaskClient, storage: responses.RequestsMock, data: bytes, expected: tuple[int, str]
):
    storage.get(SIGNED, data, headers={"ETag": '"one"'})
    first = ask(client)
    decoders = client.application.extensions["decoders"]
    client.application.extensions["decoders"] = None  # decoding once more would fail
    storage.replace("GET", SIGNED, status=304)
    for _ in range(2):
        again = ask(client, token="another")
        assert (refused(again), again.json) == (expected, first.json)
    assert storage.calls[2].request.headers["If-None-Match"] == '"one"'
    client.application.extensions["decoders"] = decoders
    storage.replace("GET", SIGNED, RED, headers={"ETag": '"two"'})
    assert ask(client).status_code == 200


def test_an_object_with_too_many_bytes_is_refused(client: FlaskClient, storage: responses.RequestsMock):
    storage.get(SIGNED, b"x" * 200_001, headers={"ETag": '"one"'})
    assert refused(ask(client)) == (413, "image-too-large")


def test_an_image_that_kills_its_decoder_is_tried_again(client: FlaskClient, storage: responses.RequestsMock):
    class Dying:
        def decode(self, data: bytes, *, min_side: int | None, budget: Budget) -> DecodedImage:
            raise DecoderCrashed()

    decoders = client.application.extensions["decoders"]
    client.application.extensions["decoders"] = Dying()
    storage.get(SIGNED, RED, headers={"ETag": '"one"'})
    assert refused(ask(client)) == (422, "decoder-crashed")
    client.application.extensions["decoders"] = decoders
    assert ask(client).status_code == 200
    assert "If-None-Match" not in storage.calls[1].request.headers


def test_a_kept_preview_is_answered_only_after_storage_has_taken_the_token(
    client: FlaskClient, storage: responses.RequestsMock
):
    storage.get(SIGNED, RED, headers={"ETag": '"one"'})
    first = ask(client)
    client.application.extensions["decoders"] = None  # decoding once more would fail
    storage.replace("GET", SIGNED, status=304)
    again = ask(client, token="another")
    assert (again.status_code, again.data) == (200, first.data)
    assert storage.calls[1].request.headers["If-None-Match"] == '"one"'
    storage.replace("GET", SIGNED, json=INVALID, status=400)
    assert refused(ask(client, token="forged")) == (400, "storage-refused")


def test_another_version_is_another_preview(client: FlaskClient, storage: responses.RequestsMock):
    storage.get(SIGNED, RED, headers={"ETag": '"one"'})
    red = ask(client)
    storage.replace("GET", SIGNED, picture("lime", (1200, 600)), headers={"ETag": '"two"'})
    lime = ask(client)
    assert (lime.status_code, lime.data != red.data) == (200, True)


def test_the_cache_forgets_what_was_asked_for_longest_ago():
    cache = Cache(9_000)
    for name in "abc":
        cache.put(("images", name, "tile"), name, bytes(3_000))
    cache.put(("images", "d", "tile"), "", bytes(3_000))  # without an ETag there is no telling its version
    kept = [name for name in "abcd" if cache.get(("images", name, "tile"))[0]]
    assert kept == ["b", "c"]


def test_the_cache_keeps_few_failures_too():
    cache = Cache(10_000)
    for number in range(100):
        cache.put(("images", str(number), "tile"), "etag", BrokenImage())
    kept = [number for number in range(100) if cache.get(("images", str(number), "tile"))[0]]
    assert 0 < len(kept) < 10 and kept == [*range(100)][-len(kept) :]


@pytest.mark.parametrize("length, etag", [(20, "1" * 34), (1150, "1" * 34), (20, "1" * 60_000)])
@pytest.mark.parametrize("of", ["a plain picture", "a failure"])
def test_the_memory_of_the_cache_is_bounded_whatever_is_kept(of: str, length: int, etag: str):
    plain = webp(Image.new("RGB", (1, 1)), SIZES["tile"])
    cache = Cache(1_000_000)
    tracemalloc.start()
    try:
        for number in range(20_000):
            made = BrokenImage("x" * 1000) if of == "a failure" else bytes(bytearray(plain))
            cache.put(("images", f"{number:0{length}}", "tile"), f"{number}{etag}", made)
        assert tracemalloc.get_traced_memory()[0] < 1_100_000
    finally:
        tracemalloc.stop()


def test_previews_and_searches_have_places_of_their_own(
    serve: Callable[..., Flask], storage: responses.RequestsMock
):
    app = serve("query", RpcTransport(active_model=[{"name": "colours", "dimensions": 4}]))
    app.extensions["file_limiter"] = ConcurrencyLimiter(running=0, waiting=0)
    storage.get(SIGNED, picture("red"))
    assert app.test_client().post("/", data=RED, content_type="image/png").status_code == 503
    assert ask(app.test_client()).status_code == 200


def test_a_page_of_tiles_waits_and_what_comes_then_is_busy_with_one_image_decoded_at_a_time(
    client: FlaskClient, storage: responses.RequestsMock
):
    app = client.application
    storage.get(SIGNED, picture("red"))
    decoders = app.extensions["decoders"]
    held, inside, most = threading.Event(), 0, 0

    class Holding:
        def decode(self, data: bytes, *, min_side: int | None, budget: Budget) -> DecodedImage:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            held.wait(30)
            inside -= 1
            decoded: DecodedImage = decoders.decode(data, min_side=min_side, budget=budget)
            return decoded

    app.extensions["decoders"] = Holding()
    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        asked = [pool.submit(lambda: ask(app.test_client()).status_code) for _ in range(AT_ONCE + 1)]
        early = next(as_completed(asked)).result()
        held.set()
        statuses = [one.result() for one in asked]
    assert early == 503
    assert (statuses.count(200), statuses.count(503), most) == (AT_ONCE, 1, 1)


def test_no_second_picture_is_made_of_a_large_one():
    large = Image.new("RGB", (5000, 4000))
    webp(large, SIZES["large"])
    assert large.size == (1600, 1280)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("shape", [(1700, 1700), (1700, 40), (3, 500)])
def test_even_noise_keeps_within_its_bounds(size: Any, shape: tuple[int, int]):
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    made = webp(Image.fromarray(noise), size)
    with Image.open(io.BytesIO(made)) as shown:
        assert len(made) <= size.bytes and max(shown.size) <= size.side
