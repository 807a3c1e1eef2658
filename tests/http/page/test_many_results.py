"""A thousand results: the browser draws those near the screen alone, and lays them out once for a key."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from support.fake_query import Fake

MANY = 1000
DRAWN = 150  # tiles near the screen, at most
LAYOUTS = 30  # of three key presses, and other moves; one for each tile would be a thousand
LONG_TASKS = """window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map(({ duration }) => duration | 0)))
  .observe({ type: "longtask" });"""
SCROLL = """(part) => new Promise((done) => {
  scrollTo(0, part * document.body.scrollHeight);
  requestAnimationFrame(() => requestAnimationFrame(done));
})"""
ARE_DRAWN = """(tiles) => tiles.filter(
  (tile) => tile.firstElementChild.checkVisibility({ contentVisibilityAuto: true })).length"""


def test_a_thousand_results_are_drawn_only_where_they_are_seen(site: str, page: Page, fake: Fake):
    fake.names = [f"many/{number:04}.jpg" for number in range(MANY)]
    fake.preview = "photos/animals/cow.jpg"
    page.add_init_script(LONG_TASKS)
    page.goto(f"{site}?q=many")
    # By its id: for a button's name the names of all tiles' buttons would be computed each time.
    tiles, more = page.locator(".tile"), page.locator("#more:visible")
    for shown in range(24, MANY, 24):
        more.dispatch_event("click")  # without scrolling there
        expect(tiles).to_have_count(min(shown + 24, MANY))
    expect(more).to_be_hidden()
    print("Long tasks while loading, in ms:", page.evaluate("longTasks.splice(0)"))
    for part in range(11):
        page.evaluate(SCROLL, part / 10)
        assert 0 < tiles.evaluate_all(ARE_DRAWN) < DRAWN
    print("Long tasks while scrolling, in ms:", page.evaluate("longTasks.splice(0)"))
    page.locator(".tile .open").first.focus()
    before = layouts(page)
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    assert layouts(page) - before < LAYOUTS


def layouts(page: Page) -> int:
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return int(next(metric["value"] for metric in metrics if metric["name"] == "LayoutCount"))
