"""The example app, built by Vite, in Chromium: two users of the embedded stack, and "similar images"."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect
from support import npm_packages
from support.fake_query import PHOTOS
from support.http_servers import QuietHandler, threaded
from support.waiting import eventually

from local.stack import Stack
from shared import settings
from shared.settings import CHECKOUT, bare_environment

HERE = Path(__file__).parent
APP = CHECKOUT / "examples" / "vite"
ADA, GRACE = ("ada@example.com", "ada-demo"), ("grace@example.com", "grace-demo")
OWN = {ADA: "energy/windmill_*.jpg", GRACE: "monuments/*chateau*.jpg"}
GIRAFFE = PHOTOS / "animals" / "giraffe.jpg"
SOON = 30_000  # ms

Open = Callable[[], Page]


@pytest.fixture(scope="module")
def site(embedded_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as it is built for this stack, at an origin of its own."""
    built = tmp_path_factory.mktemp("app")
    npm_packages.install(CHECKOUT / "packages/client")  # first: its build needs its own packages
    npm_packages.install(APP)
    subprocess.run(
        ["npm", "run", "build", "--", "--outDir", built, "--emptyOutDir"],
        cwd=APP,
        env=bare_environment(
            settings.environment(embedded_stack.settings)
        ),  # as `status --env` sets a shell up
        capture_output=True,
        check=True,
        timeout=120,
    )
    secrets = [str(embedded_stack.settings.secret_key), *map(str, embedded_stack.settings.webhook_secrets)]
    code = "".join(path.read_text() for path in built.rglob("*.*"))
    assert str(embedded_stack.settings.publishable_key) in code and not any(map(code.__contains__, secrets))
    handler = partial(QuietHandler, directory=str(built))
    with threaded(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        yield f"{url}/"


@pytest.fixture(scope="module")
def albums(embedded_stack: Stack) -> dict[tuple[str, str], set[str]]:
    """The names of each user's own images, all of them searchable, and nobody else's."""
    service = {"apikey": str(embedded_stack.settings.secret_key)}
    url = f"{embedded_stack.url}/storage/v1/bucket/images/empty"  # of other tests' images
    requests.post(url, headers=service, timeout=30).raise_for_status()
    return {user: fill(embedded_stack, user, pattern) for user, pattern in OWN.items()}


def fill(stack: Stack, user: tuple[str, str], pattern: str) -> set[str]:
    headers = signed_in(stack, user)
    paths = sorted(PHOTOS.glob(pattern))
    names = [f"app/{path.name}" for path in paths]
    for path, name in zip(paths, names, strict=True):
        url = f"{stack.url}/storage/v1/object/albums/{name}"
        typed = headers | {"Content-Type": "image/jpeg"}
        requests.post(url, data=path.read_bytes(), headers=typed, timeout=30).raise_for_status()
    states = f"{stack.url}/rest/v1/rpc/object_states"
    asked = {"bucket": "albums", "names": names}
    eventually(
        lambda: {
            row["state"] for row in requests.post(states, json=asked, headers=headers, timeout=30).json()
        },
        120,
        wanted=lambda seen: seen == {"searchable"},
    )
    return {path.name for path in paths}


def signed_in(stack: Stack, user: tuple[str, str]) -> dict[str, str]:
    key = {"apikey": str(stack.settings.publishable_key)}
    url = f"{stack.url}/auth/v1/token?grant_type=password"
    given = dict(zip(("email", "password"), user, strict=True))
    token = requests.post(url, json=given, headers=key, timeout=30).json()["access_token"]
    return key | {"Authorization": f"Bearer {token}"}


def sign_in(page: Page, site: str, user: tuple[str, str]) -> None:
    page.goto(site)
    page.get_by_label("E-mail").fill(user[0])
    page.get_by_label("Password").fill(user[1])
    page.get_by_role("button", name="Sign in").click()


def signed_in_page(page: Page, site: str, user: tuple[str, str]) -> None:
    """With the user's newest images there."""
    sign_in(page, site, user)
    expect(page.locator("#grid img").first).to_be_visible(timeout=SOON)


def shown(page: Page) -> set[str]:
    return set(page.locator("#grid img").evaluate_all("images => images.map((image) => image.alt)"))


def heading(page: Page) -> Locator:
    return page.locator("#title")


@pytest.mark.parametrize("user", [ADA, GRACE], ids=["ada", "grace"])
def test_each_user_sees_their_own_images_and_finds_what_is_similar_to_one(
    page: Page, site: str, albums: dict[tuple[str, str], set[str]], user: tuple[str, str]
):
    sign_in(page, site, user)
    chosen = sorted(albums[user])[0]
    link = page.get_by_role("link", name=f"Similar images to {chosen}")
    expect(link).to_be_visible(timeout=SOON)
    others = set().union(*(names for one, names in albums.items() if one != user))
    assert shown(page) >= albums[user] and not shown(page) & others  # beside everybody's images
    link.click()
    expect(heading(page)).to_have_text(f"Similar to {chosen}", timeout=SOON)
    assert len(shown(page)) <= 8 and shown(page) & albums[user] and not shown(page) & {chosen, *others}
    for image in (page.get_by_alt_text(chosen), page.locator("#grid img").first):
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("(image) => image.naturalWidth") > 100
    assert violations(page) == []
    page.go_back()
    expect(heading(page)).to_have_text("My newest images", timeout=SOON)
    page.go_forward()
    expect(page.get_by_alt_text(chosen)).to_be_visible(timeout=SOON)
    page.get_by_role("link", name="My images").click()
    expect(heading(page)).to_have_text("My newest images", timeout=SOON)
    expect(page.get_by_alt_text(chosen)).to_have_count(1)


def violations(page: Page) -> list[str]:
    """axe's findings."""
    page.evaluate((npm_packages.install(HERE / "reference") / "axe-core" / "axe.min.js").read_text())
    found: list[str] = page.evaluate(
        "async () => (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`)"
    )
    return found


def test_words_search_and_a_picture_is_found_once_it_is_uploaded(
    page: Page, site: str, albums: dict[tuple[str, str], set[str]]
):
    signed_in_page(page, site, ADA)
    page.locator("#upload").set_input_files(GIRAFFE)
    expect(page.get_by_alt_text(GIRAFFE.name)).to_be_visible(timeout=SOON)
    page.get_by_label("Search my images").fill("a giraffe")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(heading(page)).to_have_text("Nearest to “a giraffe”", timeout=SOON)
    expect(page.locator("#grid img").first).to_have_attribute("alt", GIRAFFE.name)


def test_a_session_survives_a_reload_and_ends_with_signing_out(
    page: Page, site: str, albums: dict[tuple[str, str], set[str]]
):
    sign_in(page, site, GRACE)
    expect(page.locator("#grid img").nth(len(albums[GRACE]) - 1)).to_be_visible(timeout=SOON)
    page.reload()
    expect(page.locator("#grid img").nth(len(albums[GRACE]) - 1)).to_be_visible(timeout=SOON)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert shown(page) == set() and violations(page) == []


def test_errors_are_shown_in_the_problems_own_words(
    chromium: Browser, site: str, albums: dict[tuple[str, str], set[str]], tmp_path: Path
):
    fake = tmp_path / "fake.jpg"
    fake.write_text("no image")
    page = chromium.new_page()
    sign_in(page, site, (ADA[0], "wrong"))
    expect(page.locator("#status")).to_have_text("Invalid login credentials", timeout=SOON)
    signed_in_page(page, site, ADA)
    page.locator("#upload").set_input_files(fake)
    expect(page.locator("#status")).to_contain_text("The file is no image. Upload", timeout=SOON)
    status, grid = page.locator("#status").bounding_box(), page.locator("#grid").bounding_box()
    assert status and grid and status["y"] < grid["y"]
    page.close()
