"""A real Chromium, and pages that fail their test where the browser complained of anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from support.fake_query import Fake
from support.http_servers import asgi
from support.prerequisites import unavailable

# The first is the same engine without windows, for a third of the work.
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
ELSEWHERE = "elsewhere.example"  # the name of another machine
ARGUMENTS = [
    "--no-sandbox",  # which doesn't start as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
]
HOW_TO_GET_IT = (
    "The page's tests need a browser: `apt-get install chromium-headless-shell`, or install Chrome."
)
API = (
    "/query",
    "/embeddings?wait=1",
    "/auth/v1/token?grant_type=password",
    "=refresh_token",
    "/logout?scope=local",
)


@pytest.fixture(scope="package")  # its event loop would be in the way of other folders' tests
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        unavailable(HOW_TO_GET_IT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page in a browser profile of its own. Any complaint of the browser fails the test, a
    breach of the Content-Security-Policy too."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)
    yield page
    context.close()
    assert complaints == []


def is_complaint(message: ConsoleMessage) -> bool:
    """The browser notes each answer of 400 and above; those of the API are the page's to explain."""
    answered = message.text.startswith("Failed to load resource") and message.location["url"].endswith(API)
    return message.type in ("error", "warning") and not answered


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def site(fake: Fake) -> Iterator[str]:
    with asgi(fake.app()) as url:
        yield f"{url}/"
        fake.held = None


@pytest.fixture
def wide_image(tmp_path: Path) -> Path:
    path = tmp_path / "wide.png"
    Image.new("RGB", (2400, 1200), "teal").save(path)
    return path
