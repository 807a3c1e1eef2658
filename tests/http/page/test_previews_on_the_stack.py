"""Previews from end to end: a page of large photographs in Chromium, and tokens that Storage didn't give."""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
import numpy as np
import pillow_heif
import pytest
import requests
from PIL import Image
from playwright.sync_api import Page, expect
from support.fake_query import PHOTOS
from support.waiting import eventually

from local import keys
from local.stack import Stack

pillow_heif.register_heif_opener()  # for saving

FOLDER = "previews"
KINDS = {"jpg": ("JPEG", "image/jpeg"), "heic": ("HEIF", "image/heic"), "tif": ("TIFF", "image/tiff")}
QUICK = {"HEIF": {"enc_params": {"preset": "ultrafast"}}}  # as large a file, in a seventh of the time
SIZE = (1600, 1200)
SOON = 60_000  # ms
PAGE_BYTES = 1_000_000


@dataclass
class Client:
    """Storage and the functions as anon."""

    stack: Stack

    @property
    def headers(self) -> dict[str, str]:
        return {"apikey": self.stack.settings.publishable_key}

    def upload(self, name: str, data: bytes, mime_type: str) -> int:
        headers = {**self.headers, "Content-Type": mime_type, "x-upsert": "true"}
        url = f"{self.stack.url}/storage/v1/object/images/{name}"
        requests.post(url, data=data, headers=headers, timeout=30).raise_for_status()
        return len(data)

    def are_searchable(self, names: list[str]) -> bool:
        url = f"{self.stack.url}/rest/v1/rpc/object_states"
        body = {"bucket": "images", "names": names}
        answer = requests.post(url, json=body, headers=self.headers, timeout=30)
        return [row["state"] for row in answer.json()] == ["searchable"] * len(names)

    def preview_of(self, name: str) -> dict[str, str]:
        """The claims in the address of a result's preview."""
        query = {"text": "a house", "limit": 100, "filter": {"bucket": "images", "prefix": f"{FOLDER}/"}}
        url = f"{self.stack.url}/functions/v1/query"
        found = requests.post(url, json=query, headers=self.headers, timeout=60).json()["results"]
        [preview] = [one["preview"] for one in found if one["name"] == name]
        assert preview.startswith("preview?")
        return dict(parse_qsl(urlsplit(preview).query))

    def preview(self, fields: dict[str, str]) -> requests.Response:
        """As an `<img>` asks for it: without a header of ours."""
        url = f"{self.stack.url}/functions/v1/query/preview"
        return requests.get(url, params=fields, timeout=60)


@pytest.fixture(scope="module")
def client(embedded_stack: Stack) -> Client:
    return Client(embedded_stack)


@pytest.fixture(scope="module")
def originals(client: Client) -> dict[str, int]:
    """Names of 24 photographs, a half of them in formats that Chromium doesn't show, with their bytes.

    Eight are made, as that takes the processor's time, and stored under three names.
    """
    kinds = ["jpg", "heic", "jpg", "tif"] * 2
    paths = sorted(PHOTOS.glob("*/*.jpg"))[::24][:8]
    made = [(photograph(path, kind), kind) for path, kind in zip(paths, kinds, strict=True)]
    sizes = {}
    for number, (data, kind) in enumerate(made * 3):
        name = f"{FOLDER}/photograph-{number}.{kind}"
        sizes[name] = client.upload(name, data, KINDS[kind][1])
    eventually(lambda: client.are_searchable(list(sizes)), 240)
    return sizes


def photograph(path: Path, kind: str) -> bytes:
    """As large as a camera's files are, with a sensor's noise."""
    with Image.open(path) as small:
        picture = np.asarray(small.convert("RGB").resize(SIZE), np.int16)
    noise = np.random.default_rng(len(path.name)).integers(-16, 17, picture.shape, np.int16)
    file = io.BytesIO()
    format_ = KINDS[kind][0]
    Image.fromarray((picture + noise).clip(0, 255).astype(np.uint8)).save(
        file, format_, **QUICK.get(format_, {})
    )
    return file.getvalue()


def test_a_page_of_large_photographs_is_small_and_shows_every_tile(
    client: Client, originals: dict[str, int], page: Page
):
    transferred: list[float] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: transferred.append(event["encodedDataLength"]))
    page.goto(f"{client.stack.url}/functions/v1/query/?folder={FOLDER}")
    expect(page.locator(".tile")).to_have_count(24, timeout=SOON)
    for place in range(24):
        tile = page.locator(".tile").nth(place)
        tile.evaluate("tile => tile.scrollIntoView()", timeout=SOON)
        expect(tile).to_have_class(re.compile(r"\bloaded\b"), timeout=SOON)
    expect(page.locator(".tile.loaded")).to_have_count(24, timeout=SOON)
    shown = page.locator(".tile img").evaluate_all(
        "all => all.map(img => [img.currentSrc, img.naturalWidth])"
    )
    assert all("/functions/v1/query/preview?" in url and width == 400 for url, width in shown)
    assert {parse_qs(urlsplit(url).query)["name"][0] for url, _ in shown} == set(originals)
    assert sum(transferred) < PAGE_BYTES < 20 * PAGE_BYTES < sum(originals.values())
    assert len(transferred) > 24


@pytest.mark.parametrize(("kind", "what"), [("heic", "size=large"), ("tif", "size=large"), ("jpg", "/sign/")])
def test_the_viewer_shows_the_original_or_where_the_browser_cant_a_large_preview(
    client: Client, originals: dict[str, int], page: Page, kind: str, what: str
):
    page.goto(f"{client.stack.url}/functions/v1/query/?folder={FOLDER}")
    expect(page.locator(".tile.loaded").first).to_be_visible(timeout=SOON)
    name = next(name for name in originals if name.endswith(kind))
    page.locator(f'.tile[data-key="images/{name}"] .open').click()
    image = page.locator("#viewer-image")
    shown = f"(img) => img.complete && img.naturalWidth === {SIZE[0]} && img.currentSrc.includes('{what}')"
    eventually(lambda: image.evaluate(shown), SOON / 1000)
    expect(page.locator("#viewer-broken")).to_be_hidden()


def test_tokens_that_storage_didnt_give_for_this_object_show_nothing(
    client: Client, originals: dict[str, int]
):
    mine, another = list(originals)[:2]
    address = client.preview_of(mine)
    assert client.preview(address).headers["Content-Type"] == "image/webp"  # and is kept from now on
    secret = keys.load(client.stack.settings.local_data).jwt_secret
    claims = jwt.decode(address["token"], options={"verify_signature": False})
    wrong = {
        "forged": jwt.encode(claims, "another secret, as long as it has to be for HS256"),
        "unsigned": jwt.encode(claims, None, "none"),
        "expired": jwt.encode(claims | {"exp": int(time.time()) - 60}, secret),
        "another object's": client.preview_of(another)["token"],
        "for uploads": jwt.encode(claims | {"scope": "upload"}, secret),
        "a key": client.stack.settings.publishable_key,
        "none": "",
    }
    answers = {kind: client.preview(address | {"token": token}) for kind, token in wrong.items()}
    assert {kind for kind, answer in answers.items() if answer.ok} == set()
    assert {answer.headers["Content-Type"] for answer in answers.values()} == {"application/problem+json"}
    assert client.preview(address | {"token": jwt.encode(claims, secret)}).ok  # so that is how it is made


def test_a_preview_follows_its_object(client: Client):
    name = f"{FOLDER}-followed/a.png"
    secret = keys.load(client.stack.settings.local_data).jwt_secret
    claims = {"url": f"images/{name}", "scope": "download", "exp": int(time.time()) + 600}
    address = {"bucket": "images", "name": name, "token": jwt.encode(claims, secret)}
    seen = []
    for colour in ("red", "blue"):
        file = io.BytesIO()
        Image.new("RGB", (500, 500), colour).save(file, "PNG")
        client.upload(name, file.getvalue(), "image/png")
        first, again = client.preview(address), client.preview(address)
        assert first.content == again.content
        seen.append(Image.open(io.BytesIO(first.content)).convert("RGB").getpixel((200, 200)))
    assert seen[0][0] > 200 > 50 > seen[0][2] and seen[1][2] > 200 > 50 > seen[1][0]
    url = f"{client.stack.url}/storage/v1/object/images/{name}"
    requests.delete(url, headers=client.headers, timeout=30).raise_for_status()
    assert client.preview(address).status_code == 404
