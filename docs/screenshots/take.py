"""Takes this folder's screenshots from a fresh `make demo`: python docs/screenshots/take.py [ADDRESS]"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

HERE = Path(__file__).parent
PHOTOS = HERE.parents[1] / "examples/images"
ADDRESS = "http://127.0.0.1:54321/functions/v1/query/"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WIDE, NARROW = (1280, 860), (390, 844)
State = Callable[[Page], None]


def start(page: Page) -> None:
    expect(page.get_by_text("From this collection")).to_be_visible()


def castles(page: Page) -> None:
    page.fill("#text", "a castle")
    page.press("#text", "Enter")
    expect(page.locator("#status")).to_contain_text("first")
    page.mouse.click(2, 300)  # takes the focus off the box


def examples(page: Page) -> None:
    castles(page)
    for name, button in (("neuschwanstein_castle.jpg", "More"), ("rocamadour.jpg", "Less")):
        tile = page.locator(".tile", has=page.get_by_text(name, exact=True))
        tile.hover()
        tile.get_by_role("button", name=f"{button} like this").click()
        expect(page.locator("#status")).to_contain_text("first")
    page.locator(".tile").nth(2).hover()


def signing_in(page: Page) -> None:
    start(page)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("E-mail").fill("ada@example.com")


def album(page: Page) -> None:
    signing_in(page)
    page.get_by_label("Password").fill("ada-demo")
    page.get_by_label("Password").press("Enter")
    expect(page.locator("#who")).to_have_text("ada@example.com")
    page.get_by_role("button", name="Filters").click()
    page.locator("#filters").get_by_label("Bucket").fill("albums")
    page.locator("#filters").get_by_label("Bucket").press("Enter")
    expect(page.locator(".tile")).to_have_count(17)
    page.get_by_role("button", name="Index", exact=True).click()
    expect(page.locator("#state-summary")).to_contain_text("17 searchable")


def selection(page: Page) -> None:
    castles(page)
    page.get_by_role("button", name="Select", exact=True).click()
    for index in (0, 1, 4):
        page.locator(".choice input").nth(index).check()


def viewer(page: Page) -> None:
    castles(page)
    page.locator(".tile .open").nth(1).click()
    expect(page.locator("#viewer-facts")).to_contain_text("added")


def part(page: Page) -> None:
    viewer(page)
    page.get_by_role("button", name="Search a part").click()


def upload(page: Page) -> None:
    start(page)
    page.get_by_role("button", name="Add images").click()
    page.set_input_files("#choose-files", [PHOTOS / f"fish/fish{number}.jpg" for number in (1, 6, 12)])
    expect(page.locator("#upload-summary")).to_contain_text("Done")
    page.locator("#close-uploads").focus()


def take(browser: Browser, address: str, state: State, size: tuple[int, int], scheme: str) -> None:
    scale = 2 if size == NARROW else 1
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, device_scale_factor=scale, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    state(page)
    page.wait_for_timeout(1500)  # until the motion is over and the images are there
    target = HERE / f"{state.__name__}-{scheme}-{size[0]}.jpg"
    page.screenshot(path=target, type="jpeg", quality=80)
    print(target.name, target.stat().st_size // 1000, "kB")
    context.close()


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else ADDRESS
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for state, size, scheme in (
            (start, WIDE, "light"),
            (examples, WIDE, "dark"),
            (castles, NARROW, "light"),
            (signing_in, NARROW, "dark"),
            (album, WIDE, "light"),
            (album, NARROW, "dark"),
            (selection, WIDE, "light"),
            (viewer, WIDE, "light"),
            (viewer, NARROW, "dark"),
            (part, WIDE, "dark"),
            (upload, WIDE, "light"),
        ):
            take(browser, address, state, size, scheme)
        browser.close()


if __name__ == "__main__":
    main()
