"""axe-core finds nothing to object to in any state of the page, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support import npm_packages
from support.fake_query import PHOTOS, Fake

HERE = Path(__file__).parent
CASTLE = PHOTOS / "monuments/neuschwanstein_castle.jpg"
State = Callable[[Page, str, Fake], None]


@pytest.fixture(scope="session")
def axe() -> str:
    return (npm_packages.install(HERE) / "axe-core/axe.min.js").read_text()


@pytest.fixture
def page(site: str, page: Page) -> Page:
    return page


def start(page: Page, site: str, fake: Fake) -> None:
    page.goto(site)
    expect(page.locator(".tile.loaded").first).to_be_visible()


def results(page: Page, site: str, fake: Fake) -> None:
    fake.copies, fake.found = 2, 5
    page.goto(site + "?q=castle&like=images/animals/cow.jpg&unlike=images/animals/owl.jpg")
    expect(page.locator(".tile.loaded").first).to_be_visible()


def searching(page: Page, site: str, fake: Fake) -> None:
    fake.held = "castle"
    page.goto(site + "?q=castle")
    expect(page.locator(".skeleton").first).to_be_attached()


def empty(page: Page, site: str, fake: Fake) -> None:
    fake.names = []
    page.goto(site + "?q=castle")
    expect(page.locator("#message")).to_be_visible()


def nothing_fits(page: Page, site: str, fake: Fake) -> None:
    fake.names = []
    page.goto(site + "?q=castle&bucket=nowhere")
    page.get_by_text("Possible reasons").click()


def nothing_near(page: Page, site: str, fake: Fake) -> None:
    fake.found = 0
    page.goto(site + "?q=castle")
    expect(page.locator(".divider")).to_be_visible()


def keys(page: Page, site: str, fake: Fake) -> None:
    start(page, site, fake)
    page.locator(".tile .open").first.press("?")


def folded(page: Page, site: str, fake: Fake) -> None:
    uploads(page, site, fake)
    page.get_by_role("button", name="Find similar").first.click()
    expect(page.get_by_role("button", name="2 of 2 added")).to_be_visible()


def problem(page: Page, site: str, fake: Fake) -> None:
    fake.problem = {"type": "busy", "status": 503, "detail": "Busy."}
    page.goto(site + "?q=castle")
    expect(page.locator(".notice")).to_be_visible()


def sign_in(page: Page, site: str, fake: Fake) -> None:
    start(page, site, fake)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Use a token instead").click()


def tools(page: Page, site: str, fake: Fake) -> None:
    fake.states = {"tools/hammer1.jpg": "failed", "tools/hammer2.jpg": "pending"}
    page.goto(site + "?q=hammer&folder=tools")
    expect(page.locator(".tile.loaded").first).to_be_visible()
    page.get_by_role("button", name="Index").click()
    expect(page.locator("#state-summary")).to_contain_text("searchable")


def selection(page: Page, site: str, fake: Fake) -> None:
    start(page, site, fake)
    page.get_by_role("button", name="Select", exact=True).click()
    page.locator(".choice input").first.check()


def deleting(page: Page, site: str, fake: Fake) -> None:
    selection(page, site, fake)
    page.get_by_role("button", name="Delete").click()


def viewer(page: Page, site: str, fake: Fake) -> None:
    results(page, site, fake)
    page.locator(".tile .open").first.click()
    expect(page.locator("#viewer-facts")).to_contain_text("MB")


def part(page: Page, site: str, fake: Fake) -> None:
    viewer(page, site, fake)
    page.get_by_role("button", name="Search a part").click()


def uploads(page: Page, site: str, fake: Fake) -> None:
    start(page, site, fake)
    page.set_input_files("#choose-files", [CASTLE, PHOTOS / "ATTRIBUTION.tsv"])
    expect(page.locator("#upload-summary")).to_contain_text("Done")


STATES: list[State] = [
    *(start, results, searching, empty, nothing_fits, nothing_near, problem, sign_in),
    *(tools, selection, deleting, viewer, part, uploads, folded, keys),
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_axe_finds_nothing(page: Page, site: str, fake: Fake, axe: str, state: State):
    state(page, site, fake)
    page.evaluate(axe)
    for scheme, width in (("light", 1280), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 844})
        found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run()).violations")
        told = [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found]
        assert told == [], (scheme, width)
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), (scheme, width)
