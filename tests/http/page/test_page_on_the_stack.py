"""The page served by the real query function, before the real embedded stack and the default model."""

from __future__ import annotations

import subprocess

import pytest
import requests
from playwright.sync_api import Locator, Page, expect
from support.fake_query import PHOTOS
from support.page_status import BY_MATCH
from support.waiting import eventually

from local.stack import Stack

FOLDERS = ("energy", "monuments")
CASTLES = {
    "chateau_de_chambord.jpg",
    "chateau_de_chenonceau.jpg",
    "cite_de_carcassonne.jpg",
    "neuschwanstein_castle.jpg",
    "schwerin_palace.jpg",
}
WINDMILL = PHOTOS / "energy/windmill_1.jpg"
GIRAFFE = PHOTOS / "animals/giraffe.jpg"
SOON = 30_000  # ms; a first query may have to wake the model


@pytest.fixture(scope="module")
def stack(embedded_stack: Stack) -> Stack:
    """With enough to search; the little that the examples' tests upload is none of it."""
    fill(embedded_stack)
    return embedded_stack


def fill(stack: Stack) -> None:
    key = {"apikey": stack.settings.publishable_key}
    names = [
        f"{folder}/{path.name}" for folder in FOLDERS for path in sorted((PHOTOS / folder).glob("*.jpg"))
    ]
    for name in names:
        headers = {**key, "Content-Type": "image/jpeg"}
        url = f"{stack.url}/storage/v1/object/images/{name}"
        requests.post(url, data=(PHOTOS / name).read_bytes(), headers=headers, timeout=30).raise_for_status()
    eventually(lambda: not unfinished(stack, key, names), 120)


def unfinished(stack: Stack, key: dict[str, str], names: list[str]) -> bool:
    url = f"{stack.url}/rest/v1/rpc/object_states"
    answer = requests.post(url, json={"bucket": "images", "names": names}, headers=key, timeout=30)
    return {row["state"] for row in answer.json()} != {"searchable"}


@pytest.fixture
def page(stack: Stack, page: Page) -> Page:
    page.goto(f"{stack.url}/functions/v1/query/")
    expect(page.locator(".tile.loaded").first).to_be_visible(timeout=SOON)
    return page


def searched(page: Page) -> Locator:
    """The names found, best first."""
    expect(page.locator("#status")).to_contain_text(BY_MATCH, timeout=SOON)
    return page.locator(".tile .name")


def first(page: Page, count: int) -> list[str]:
    return searched(page).all_text_contents()[:count]


def test_it_works_at_the_address_without_a_slash_too(stack: Stack, page: Page):
    page.goto(f"{stack.url}/functions/v1/query?q=a%20castle")
    assert CASTLES & set(first(page, 6))
    assert page.url.endswith("/functions/v1/query/?q=a%20castle")


def test_words_find_images(page: Page):
    page.fill("#text", "a castle")
    page.press("#text", "Enter")
    assert len(CASTLES & set(first(page, 6))) >= 4


def test_a_name_finds_its_image_whatever_it_shows(page: Page):
    page.fill("#text", "schwerin")
    page.press("#text", "Enter")
    assert first(page, 1) == ["schwerin_palace.jpg"]
    expect(page.locator(".tile .confidence").first).to_have_text("found by its name")


def test_an_image_finds_itself_and_its_like(page: Page):
    page.set_input_files("#pick-file", WINDMILL)
    names = first(page, 7)
    assert names[0] == WINDMILL.name
    assert sum(name.startswith("windmill") for name in names[1:]) >= 5


def test_more_like_this_finds_others_like_it(page: Page):
    page.set_input_files("#pick-file", WINDMILL)
    searched(page)
    page.locator(".tile .open").first.click()
    page.get_by_role("button", name="More like this", exact=True).click()
    page.get_by_role("button", name="Remove: like windmill_1.jpg").click()
    expect(page.locator(".chip")).to_have_count(1)
    names = first(page, 6)
    assert WINDMILL.name not in names
    assert sum(name.startswith("windmill") for name in names) >= 5


def test_the_larger_view_shows_the_image_from_storage(page: Page):
    page.locator(".tile .open").first.click()
    expect(page.locator("#viewer-image")).to_be_visible()
    # Not wait_for_function: from its second look on it is an eval, which the page's policy refuses.
    eventually(lambda: page.evaluate("document.querySelector('#viewer-image').naturalWidth > 100"))


def test_the_copied_snippet_runs(page: Page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#text", "a windmill")
    page.press("#text", "Enter")
    searched(page)
    page.locator(".tile .open").first.click()
    page.get_by_role("button", name="Copy snippet").click()
    expect(page.locator("#viewer-outcome")).to_have_text("Snippet copied")
    snippet = page.evaluate("navigator.clipboard.readText()")
    command = ["node", "--input-type=module", "--eval", snippet]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("windmill_") >= 5 and "similarity: 0." in done.stdout


def test_an_uploaded_image_is_searchable_when_the_page_says_so(page: Page):
    page.set_input_files("#choose-files", [GIRAFFE, PHOTOS / "ATTRIBUTION.tsv"])
    expect(page.locator(".file[data-state=searchable]")).to_contain_text(GIRAFFE.name, timeout=SOON)
    failed = page.locator(".file[data-state=failed]")
    expect(failed).to_contain_text("Failed: This file isn't an image that can be read", timeout=SOON)
    page.get_by_role("button", name="Close", exact=True).click()
    page.set_input_files("#pick-file", GIRAFFE)
    assert first(page, 1) == [GIRAFFE.name]


def test_a_name_that_is_taken_can_be_replaced(page: Page):
    page.get_by_role("button", name="Add images").click()
    page.get_by_text("Saved to").click()
    page.locator("#uploads").get_by_label("Folder").fill("energy")
    page.set_input_files("#choose-files", WINDMILL)
    page.get_by_role("button", name="Replace").click()
    expect(page.locator(".file .outcome")).to_have_text("Searchable", timeout=SOON)


def test_nothing_scrolls_sideways_at_320_pixels(page: Page):
    page.set_viewport_size({"width": 320, "height": 640})
    page.fill("#text", "a castle")
    page.press("#text", "Enter")
    searched(page)
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
