"""Makes the README's search.webp from a running demo: python docs/screenshots/animate.py [ADDRESS]"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from take import ADDRESS, ARGUMENTS

TARGET = Path(__file__).parent / "search.webp"
SIZE = (960, 640)
WORDS = "a castle"
LIKE = "neuschwanstein_castle.jpg"
LETTER, LOOK, LONG = 90, 900, 2600  # ms that a frame is shown

Frames = list[tuple[Image.Image, int]]


def shoot(page: Page, frames: Frames, milliseconds: int) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    frames.append((picture, milliseconds))


def settled(page: Page) -> None:
    """Until the results and their pictures are there."""
    expect(page.locator("#status")).to_contain_text("first")
    page.wait_for_timeout(1200)


def act(page: Page, frames: Frames) -> None:
    expect(page.locator(".tile.loaded").first).to_be_visible()
    page.wait_for_timeout(1200)
    shoot(page, frames, LONG // 2)
    page.click("#text")
    for letter in WORDS:
        page.keyboard.type(letter)
        shoot(page, frames, LETTER)
    page.keyboard.press("Enter")
    settled(page)
    shoot(page, frames, LONG)
    tile = page.locator(".tile", has=page.get_by_text(LIKE, exact=True))
    tile.hover()
    page.wait_for_timeout(400)
    shoot(page, frames, LOOK)
    tile.get_by_role("button", name="More like this").click()
    settled(page)
    shoot(page, frames, LONG)


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else ADDRESS
    frames: Frames = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        context = browser.new_context(
            viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce", color_scheme="light"
        )
        page = context.new_page()
        page.goto(address)
        act(page, frames)
        browser.close()
    pictures, durations = zip(*frames, strict=True)
    options = {"save_all": True, "loop": 0, "quality": 60, "method": 6, "kmax": 1}
    pictures[0].save(TARGET, append_images=pictures[1:], duration=list(durations), **options)
    print(TARGET.name, TARGET.stat().st_size // 1000, "kB,", len(frames), "frames")


if __name__ == "__main__":
    main()
