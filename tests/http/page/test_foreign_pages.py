"""Pages and documents that aren't the project's, in a real browser beside its page."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, Page
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from support.fake_query import PAGE, PHOTOS
from support.http_servers import asgi

from local.stack import Stack

BUCKET = "foreign-pages"
SCRIPT = "document.documentElement.setAttribute('ran', localStorage.length)"
XHTML = "http://www.w3.org/1999/xhtml"
DOCUMENTS = {
    "image/svg+xml": f'<svg xmlns="http://www.w3.org/2000/svg"><script>{SCRIPT}</script></svg>',
    "application/xhtml+xml": f'<html xmlns="{XHTML}"><script>{SCRIPT}</script></html>',
    "TEXT/HTML": f"<script>{SCRIPT}</script>",
}


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Page]:
    """A page whose complaints are expected."""
    context = chromium.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def secret(embedded_stack: Stack) -> Iterator[dict[str, str]]:
    headers = {"apikey": embedded_stack.settings.secret_key}
    storage = f"{embedded_stack.url}/storage/v1"
    requests.post(f"{storage}/bucket", json={"name": BUCKET, "public": True}, headers=headers, timeout=30)
    yield headers
    requests.post(f"{storage}/bucket/{BUCKET}/empty", headers=headers, timeout=30)


def upload(stack: Stack, secret: dict[str, str], mime_type: str, data: bytes) -> str:
    """The object's public address."""
    url = f"{stack.url}/storage/v1/object/{BUCKET}/{mime_type.replace('/', '-')}"
    sent = {**secret, "content-type": mime_type, "x-upsert": "true"}
    requests.post(url, data=data, headers=sent, timeout=30).raise_for_status()
    return url.replace("/object/", "/object/public/")


@pytest.mark.parametrize("mime_type", DOCUMENTS)
def test_a_stored_document_runs_no_script(
    embedded_stack: Stack, secret: dict[str, str], visit: Page, mime_type: str
) -> None:
    visit.goto(upload(embedded_stack, secret, mime_type, DOCUMENTS[mime_type].encode()))
    assert visit.evaluate("document.documentElement.getAttribute('ran')") is None


def test_a_stored_image_and_a_sound_are_shown_where_they_are_opened(
    embedded_stack: Stack, secret: dict[str, str], page: Page
) -> None:
    page.goto(upload(embedded_stack, secret, "image/jpeg", (PHOTOS / "animals/giraffe.jpg").read_bytes()))
    assert page.evaluate("document.images[0].naturalWidth") > 0
    page.goto(upload(embedded_stack, secret, "audio/wav", sound()))
    page.wait_for_function("document.querySelector('video, audio').duration > 0")


def sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(8000)
        writer.writeframes(bytes(8000))
    return file.getvalue()


def test_a_page_of_elsewhere_learns_and_does_nothing(embedded_stack: Stack, visit: Page) -> None:
    asks = (
        f"fetch('{embedded_stack.url}/functions/v1/query/config.json').then(a => a.json(), () => 'refused')"
    )
    with asgi(Starlette(routes=[Route("/", lambda _: HTMLResponse("<p>"))])) as site:
        visit.goto(site)
        assert "publishable_key" in visit.evaluate(asks)
        visit.goto(site.replace("127.0.0.1", "elsewhere.example"))
        assert visit.evaluate(asks) == "refused"


def test_a_name_of_elsewhere_that_leads_here_gets_nothing(embedded_stack: Stack, visit: Page) -> None:
    """DNS rebinding: to the browser the stack is that page's own server."""
    answer = visit.goto(f"{embedded_stack.url}/functions/v1/query/".replace("127.0.0.1", "elsewhere.example"))
    assert answer and answer.status == 403


def test_what_the_page_opens_knows_neither_its_opener_nor_its_address() -> None:
    sources = [*PAGE.glob("*.html"), *PAGE.glob("*.js")]
    opened = [line for path in sources for line in path.read_text().splitlines() if "_blank" in line]
    assert opened and all("noopener noreferrer" in line for line in opened)
