"""The page's tools for results: narrow, sort, select, cut out, look closer."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect
from support import npm_packages
from support.fake_query import PHOTOS, Fake

HERE = Path(__file__).parent
QUERY = HERE.parents[2] / "functions/query"
OWN_BYTES = 80_000  # that a browser loads of the page, less what is vendored
CASTLE = PHOTOS / "monuments/neuschwanstein_castle.jpg"
TWO_ENTERS = """() => {
  for (let press = 0; press < 2; press++)
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
}"""
BUSY = {"type": "busy", "title": "…", "status": 429, "detail": "Too many at once."}


@pytest.fixture
def page(site: str, page: Page) -> Page:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return page


def open_results(
    page: Page, site: str, address: str = "?q=castle", words: str = "most similar first"
) -> None:
    page.goto(site + address)
    expect(page.locator("#status")).to_contain_text(words)


def choose(page: Page, *indices: int) -> list[str]:
    page.get_by_role("button", name="Select", exact=True).click()
    for index in indices:
        page.locator(".tile .choice input").nth(index).check()
    return [page.locator(".tile .name").nth(index).get_attribute("title") or "" for index in indices]


def clipboard(page: Page) -> str:
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def test_filters_narrow_the_search_and_are_kept_by_the_address(page: Page, site: str, fake: Fake):
    open_results(page, site)
    page.get_by_role("button", name="Filters").click()
    form = page.locator("#filters")
    for label, value in (
        ("Bucket", "images"),
        ("Folder", "/monuments/"),
        ("From", "2026-01-02"),
        ("To", "2026-01-31"),
        ("At least (MB)", "0.5"),
        ("At most (MB)", "3"),
        ("Metadata", "shots=3"),
    ):
        form.get_by_label(label).fill(value)
    form.get_by_label("Type").select_option("image/jpeg")
    expect(page).to_have_url(re.compile("type=image%2Fjpeg"))
    expect(page.locator("#status")).to_contain_text("most similar first")
    wanted = {
        "bucket": "images",
        "prefix": "monuments/",
        "mime_type": "image/jpeg",
        "uploaded_after": "2026-01-02",
        "uploaded_before": "2026-02-01",
        "min_bytes": 500_000,
        "max_bytes": 3_000_000,
        "metadata": {"shots": 3},
    }
    assert fake.queries[-1]["filter"] == wanted
    page.reload()
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert fake.queries[-1]["filter"] == wanted
    expect(page.get_by_role("button", name="Filters (8)")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page).to_have_url(re.compile(r"\?q=castle$"))


def test_buckets_and_folders_are_offered(page: Page, site: str):
    open_results(page, site)
    page.get_by_role("button", name="Filters").click()
    page.locator("#filters").get_by_label("Folder").focus()
    expect(page.locator("#folders option")).to_have_count(6)
    expect(page.locator("#buckets option")).to_have_count(2)
    offered = page.locator("#buckets option").evaluate_all("options => options.map(one => one.value)")
    assert offered == ["albums", "images"]


def test_words_behind_a_minus_are_what_there_should_be_less_of(page: Page, site: str, fake: Fake):
    page.goto(site)
    page.fill("#text", 'well-lit castle -snow -"deep forest"')
    page.press("#text", "Enter")
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert fake.queries[-1]["text"] == "well-lit castle"
    assert fake.queries[-1]["unlike"] == [{"text": "snow"}, {"text": "deep forest"}]


def test_an_examples_weight_is_chosen_on_its_chip(page: Page, site: str, fake: Fake):
    open_results(page, site, "?like=images/animals/giraffe.jpg&like=images/animals/cow.jpg")
    page.get_by_label("Weight of cow.jpg").select_option("2")
    expect(page).to_have_url(re.compile("weight=2%2Cimages"))
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert fake.queries[-1]["like"] == [
        "images/animals/giraffe.jpg",
        {"name": "images/animals/cow.jpg", "weight": 2},
    ]


def test_examples_of_a_link_have_thumbnails(page: Page, site: str, fake: Fake):
    fake.names = [name for name in fake.names if not name.startswith("tools/")]
    open_results(page, site, "?like=images/tools/hammer1.jpg")
    expect(page.locator(".chip img")).to_have_attribute("src", re.compile("hammer1.jpg"))


def test_good_matches_can_be_sorted_by_date(page: Page, site: str, fake: Fake):
    fake.found, fake.named = 6, 9
    open_results(page, site, "?q=castle&varied=1", "varied")
    before = page.locator(".tile .name").all_text_contents()
    good = [*before[:6], before[9]]
    expect(page.locator(".divider")).to_have_count(0)
    page.get_by_label("Order").select_option("date")
    expect(page.locator("#status")).to_contain_text("good matches newest first")
    sorted_ = page.locator(".tile .name").all_text_contents()
    assert sorted_[:7] != good and sorted(sorted_[:7]) == sorted(good)
    assert sorted_[7:] == [name for name in before if name not in good]
    expect(page.locator(".tile:nth-child(7) ~ .divider")).to_have_text("Less similar")
    page.get_by_label("Order").select_option("similarity")
    expect(page.locator("#status")).to_contain_text("varied")
    assert page.locator(".tile .name").all_text_contents() == before
    expect(page.locator(".divider")).to_have_count(0)


@pytest.mark.parametrize(("found", "words"), [(None, "newest first"), (0, "most similar first")])
def test_where_all_or_no_matches_are_good_the_order_by_date_is_told_so(
    page: Page, site: str, fake: Fake, found: int | None, words: str
):
    fake.found = found
    open_results(page, site)
    page.get_by_label("Order").select_option("date")
    expect(page.locator("#status")).to_have_text(f"24 shown, more below · {words}")


def test_selected_images_become_examples(page: Page, site: str, fake: Fake):
    open_results(page, site)
    names = choose(page, 0, 3)
    expect(page.locator("#selected-count")).to_have_text("2 selected")
    page.get_by_role("button", name="More like these").click()
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator("#selection")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert fake.queries[-1]["like"] == names


def test_a_click_on_the_image_selects_while_selecting_and_enter_opens(page: Page, site: str):
    open_results(page, site)
    page.get_by_role("button", name="Select", exact=True).click()
    images = page.locator(".tile .open")
    images.nth(1).click()
    images.nth(2).click()
    expect(page.locator("#selected-count")).to_have_text("2 selected")
    images.nth(1).click()
    expect(page.locator("#selected-count")).to_have_text("1 selected")
    expect(page.locator("#viewer")).to_be_hidden()
    images.nth(2).press("Enter")
    expect(page.locator("#viewer")).to_be_visible()


def test_loading_more_keeps_the_selection(page: Page, site: str, fake: Fake):
    open_results(page, site)
    names = choose(page, 0, 3)
    page.get_by_role("button", name="Load more").click()
    expect(page.locator(".tile")).to_have_count(48)
    expect(page.locator("#selected-count")).to_have_text("2 selected")
    expect(page.locator(".tile :checked")).to_have_count(2)
    page.get_by_role("button", name="More like these").click()
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert fake.queries[-1]["like"] == names


def test_links_of_selected_images_are_copied(page: Page, site: str):
    open_results(page, site)
    names = choose(page, 0, 1)
    page.get_by_role("button", name="Copy links").click()
    expect(page.locator("#selected-outcome")).to_contain_text("2 copied")
    links = clipboard(page).split("\n")
    assert [link.split("/photos/")[1] for link in links] == [f"{name[7:]}?token=t" for name in names]


def test_selected_images_are_downloaded(page: Page, site: str):
    open_results(page, site)
    [name] = choose(page, 0)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == name.rsplit("/")[-1]
    assert Path(download.value.path()).read_bytes() == (PHOTOS / name.removeprefix("images/")).read_bytes()


def test_deleting_is_asked_once_more_and_says_what_was_not_allowed(page: Page, site: str, fake: Fake):
    open_results(page, site)
    names = choose(page, 0, 1)
    fake.deletable = {names[0].removeprefix("images/")}
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#confirm-title")).to_have_text("Delete 2 images?")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(".tile")).to_have_count(24)
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("#confirm-delete").get_by_role("button", name="Delete").click()
    expect(page.locator(".tile")).to_have_count(23)
    expect(page.locator("#status")).to_have_text("1 deleted; 1 not: you may not delete them.")
    expect(page.locator(".tile .name").first).to_have_attribute("title", names[1])


def test_deleting_an_image_leaves_its_copies_says_so_and_shows_the_next(page: Page, site: str, fake: Fake):
    fake.copies, fake.shows_photos = 2, False
    fake.names = [f"castle-{number}.jpg" for number in range(4)]
    open_results(page, site)
    [name] = choose(page, 0)
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#confirm-copies")).to_have_text("2 copies stay.")
    fake.copies, fake.names = 1, ["castle-copy.jpg", *(set(fake.names) - {name.removeprefix("images/")})]
    page.locator("#confirm-delete").get_by_role("button", name="Delete").click()
    expect(page.locator("#status")).to_have_text("1 deleted")
    names = page.locator(".tile .name").all_text_contents()
    assert "castle-copy.jpg" in names and name not in names
    expect(page.locator(".copies").first).to_have_text("+ 1 copy")


def test_back_closes_the_larger_view_and_leaves_the_results(page: Page, site: str, fake: Fake):
    open_results(page, site)
    page.locator(".tile .open").nth(2).click()
    expect(page.locator("#viewer")).to_be_visible()
    asked = len(fake.queries)
    page.go_back()
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator(".tile .open").nth(2)).to_be_focused()
    page.locator(".tile .open").nth(2).click()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    assert len(fake.queries) == asked and page.url.endswith("?q=castle")


def test_a_swipe_shows_the_next_image_and_one_down_closes(page: Page, site: str):
    open_results(page, site)
    page.locator(".tile .open").first.click()
    first = page.locator("#viewer-name").inner_text()
    swipe(page, -120, 10)
    expect(page.locator("#viewer-name")).not_to_have_text(first)
    swipe(page, 120, -10)
    expect(page.locator("#viewer-name")).to_have_text(first)
    swipe(page, 5, 200)
    expect(page.locator("#viewer")).to_be_hidden()


def swipe(page: Page, dx: int, dy: int) -> None:
    page.locator(".stage").evaluate(
        """(stage, [dx, dy]) => {
            const touch = (x, y) => new Touch({ identifier: 1, target: stage, clientX: x, clientY: y });
            const [from, to] = [touch(300, 300), touch(300 + dx, 300 + dy)];
            stage.dispatchEvent(new TouchEvent("touchstart", { touches: [from], changedTouches: [from] }));
            stage.dispatchEvent(new TouchEvent("touchend", { touches: [], changedTouches: [to] }));
        }""",
        [dx, dy],
    )


def test_the_larger_view_tells_what_is_known_and_copies_it(page: Page, site: str, fake: Fake):
    fake.found_by = ["image", "name"]
    open_results(page, site, words="best first")
    page.locator(".tile .open").first.click()
    name = page.locator("#viewer-name").inner_text()
    expect(page.locator("#viewer-facts")).to_contain_text("same image · found by its name")
    expect(page.locator("#viewer-facts")).to_contain_text("image/jpeg · 1.23 MB · added")
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#viewer-outcome")).to_contain_text("Link copied")
    assert clipboard(page).endswith(f"/photos/{name.removeprefix('images/')}?token=t")
    page.get_by_role("button", name="Copy snippet").click()
    expect(page.locator("#viewer-outcome")).to_have_text("Snippet copied")
    assert f'"{name}"' in clipboard(page) and f'fetch("{site[:-1]}"' in clipboard(page)


def test_a_part_of_an_image_is_cut_out_and_searched(page: Page, site: str, fake: Fake):
    open_results(page, site)
    page.locator(".tile .open").first.click()
    page.get_by_role("button", name="Search a part").click()
    box = page.locator("#viewer-image").bounding_box()
    assert box
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 30)
    page.mouse.up()
    drawn = page.locator("#crop-box").bounding_box()
    assert drawn and (round(drawn["width"]), round(drawn["height"])) == (60, 30)
    name = page.locator("#viewer-name").inner_text().rsplit("/")[-1]
    page.get_by_role("button", name="Search this part").click()
    expect(page.locator(".chip")).to_contain_text(f"part of {name}")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert len(fake.queries[-1]["image"]) > 100 and fake.queries[-1]["text"] == "castle"


def test_a_part_can_be_chosen_by_keys(page: Page, site: str, fake: Fake):
    open_results(page, site)
    page.locator(".tile .open").first.click()
    page.get_by_role("button", name="Search a part").click()
    before = page.locator("#crop-box").bounding_box()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    after = page.locator("#crop-box").bounding_box()
    assert before and after and after["x"] > before["x"] and after["height"] > before["height"]
    page.keyboard.press("Escape")
    expect(page.locator("#crop")).to_be_hidden()
    expect(page.locator("#viewer")).to_be_visible()
    page.get_by_role("button", name="Search a part").click()
    asked = len(fake.queries)
    page.evaluate(TWO_ENTERS)
    expect(page.locator(".chip")).to_contain_text("part of ")
    expect(page.locator("#status")).to_contain_text("most similar first")
    page.go_back()
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert len(fake.queries) == asked + 2  # the part and, by Back, the former search


def test_keys_go_from_tile_to_tile_and_to_the_search(page: Page, site: str):
    page.goto(site)
    expect(page.locator("#text")).to_be_focused()
    open_results(page, site)
    page.locator(".tile .open").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tile .open").nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    below = page.evaluate("document.activeElement.closest('.tile').offsetTop")
    assert below > page.locator(".tile").nth(1).evaluate("tile => tile.offsetTop")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.closest('.tile').offsetTop") < below
    page.keyboard.press("x")
    expect(page.locator("#selected-count")).to_have_text("1 selected")
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#text")).to_have_value("castle")


def test_a_question_mark_tells_the_keys_except_in_a_field(page: Page, site: str):
    open_results(page, site)
    page.locator("#text").press("?")
    expect(page.locator("#keys")).to_be_hidden()
    page.locator(".tile .open").first.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("select it")
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_nothing_covers_another_thing_on_small_tiles_and_narrow_screens(page: Page, site: str, fake: Fake):
    fake.copies = 2
    page.set_viewport_size({"width": 390, "height": 844})
    open_results(page, site)
    image, badge = page.locator(".open").first.bounding_box(), page.locator(".copies").first.bounding_box()
    assert image and badge
    assert 4 <= badge["x"] - image["x"] <= 12
    assert 4 <= image["y"] + image["height"] - badge["y"] - badge["height"] <= 12
    choose(page, 0)
    for tile in page.locator(".tile").all()[:12]:
        tile.hover()
        box = tile.locator(".choice").bounding_box()
        like = tile.locator("[data-kind=like]").bounding_box()
        assert box and (like is None or like["x"] >= box["x"] + box["width"])
    bar = page.locator("#selection").bounding_box()
    row = page.locator("#selected-delete").bounding_box()
    assert bar and row and bar["height"] < 3.5 * row["height"]  # two rows


def test_each_tile_is_one_tab_stop(page: Page, site: str):
    open_results(page, site)
    page.locator(".tile .open").first.focus()
    page.keyboard.press("Tab")
    expect(page.locator(".tile .open").nth(1)).to_be_focused()


def test_a_busy_server_is_asked_again_when_it_said(page: Page, site: str, fake: Fake):
    fake.problem, fake.retry_after = BUSY, 2
    page.goto(site + "?q=castle")
    expect(page.get_by_role("alert").first).to_contain_text(re.compile("Trying again in [12] s"))
    asked = len(fake.queries)
    fake.problem = None
    expect(page.locator(".tile").first).to_be_visible()
    assert len(fake.queries) == asked + 1


def test_a_broken_preview_falls_back_to_the_original_and_then_to_the_name(page: Page, site: str, fake: Fake):
    page.route("**/broken.webp", lambda route: route.fulfill(body="", content_type="image/webp"))
    fake.preview = "broken.webp"
    open_results(page, site)
    expect(page.locator(".tile.loaded img").first).to_have_attribute("src", re.compile("photos/"))
    page.route("**/photos/**", lambda route: route.fulfill(body="", content_type="image/jpeg"))
    page.reload()
    expect(page.locator(".tile.broken")).not_to_have_count(0)
    expect(page.locator(".tile.broken .name").first).not_to_be_empty()
    page.locator(".tile .open").first.click()
    expect(page.locator("#viewer-broken")).to_have_text("This image can't be shown")


def test_the_state_of_the_index_is_told_with_causes_and_retried(page: Page, site: str, fake: Fake):
    fake.states = {"tools/hammer1.jpg": "failed", "tools/hammer2.jpg": "pending"}
    page.route(
        "**/storage/v1/object/images/**",
        lambda route: (
            route.fulfill(json={"Id": "a", "Key": "images/a"})
            if route.request.method == "PUT"
            else route.continue_()
        ),
    )
    page.goto(site + "?folder=tools")
    expect(page.locator(".tile").first).to_be_visible()
    page.get_by_role("button", name="Index").click()
    expect(page.locator("#state-summary")).to_have_text("36 searchable · 1 waiting · 1 failed")
    page.get_by_role("button", name="Retry: images/tools/hammer1.jpg").click()
    expect(page.locator("#state-list .outcome").first).to_contain_text("waiting: stored again")


def test_nothing_is_asked_for_a_name_that_leads_out_of_storage(page: Page, site: str):
    """The browser would resolve the path, and ask whatever its uploader chose in the visitor's name."""
    names, asked = ["tools/x/../../../../../auth/v1/user", "tools/..?x"], []
    listed = [{"id": name, "name": name.removeprefix("tools/")} for name in names]
    page.route("**/storage/v1/object/list/images", lambda route: route.fulfill(json=listed))
    page.route(
        "**/rest/v1/rpc/object_states",
        lambda route: route.fulfill(
            json=[{"name": name, "state": "failed", "reason": "StorageRefused"} for name in names]
        ),
    )
    page.goto(site + "?bucket=images&folder=tools")
    expect(page.locator(".tile").first).to_be_visible()
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Index").click()
    for name in names:
        page.get_by_role("button", name=f"Retry: images/{name}").click()
    expect(page.locator("#state-list .outcome")).to_contain_text(["Not retried: Its name has . or .."] * 2)
    assert not [url for url in asked if "/auth/" in url or "/object/images" in url]


@pytest.mark.parametrize("up", ["../../../..", "..\\..\\..\\..", "%2e%2e/..", ".."])
def test_a_link_names_no_bucket_that_leads_out_of_storage(page: Page, site: str, up: str):
    """The visitor would be signed out by it, or a row be inserted in their name."""
    asked: list[str] = []
    bucket = quote("\\".join([up, "auth", "v1", "logout"]) if "\\" in up else up, safe="")
    page.on("request", lambda request: asked.append(f"{request.method} {urlsplit(request.url).path}"))
    with page.expect_response("**/query"):
        page.goto(f"{site}?like={bucket}/x&unlike={bucket}/y&bucket={bucket}")
    page.get_by_role("button", name="Filters").click()
    page.locator("#filters").get_by_label("Folder").focus()
    page.get_by_role("button", name="Index").click()
    expect(page.locator("#state-summary")).to_contain_text("There is no such bucket.")
    posts = {one for one in asked if one.startswith("POST")}
    assert posts == {f"POST {urlsplit(site).path}query"}


def test_only_one_place_names_buckets_to_storage():
    modules = (QUERY / "page").glob("*.js")
    assert [path.name for path in modules if "storage.from(" in path.read_text()] == ["objects.js"]


def test_the_state_of_the_index_follows_the_filter_and_uploads(page: Page, site: str, fake: Fake):
    open_results(page, site)
    page.get_by_role("button", name="Index").click()
    summary = page.locator("#state-summary")
    expect(page.locator("#state-of")).to_have_text("All buckets")
    expect(summary).to_contain_text(re.compile("[1-9][0-9]* searchable"))
    page.get_by_role("button", name="Filters").click()
    page.locator("#filters").get_by_label("Bucket").fill("albums")
    page.keyboard.press("Enter")
    expect(page.locator("#state-of")).to_have_text("albums")
    expect(summary).to_have_text("You see no files here.")
    page.locator("#filters").get_by_label("Bucket").fill("images")
    page.locator("#filters").get_by_label("Folder").fill("tools")
    page.keyboard.press("Enter")
    expect(page.locator("#state-of")).to_have_text("images/tools")
    expect(summary).to_have_text("38 searchable")
    fake.names.append("tools/new.jpg")
    page.set_input_files("#choose-files", CASTLE)
    expect(summary).to_have_text("39 searchable")


def test_the_index_looks_at_5000_files_at_most(page: Page, site: str, fake: Fake):
    fake.names, fake.shows_photos = [f"many/{number:04}.jpg" for number in range(6500)], False
    open_results(page, site, "?q=castle&bucket=images&folder=many/")
    page.get_by_role("button", name="Index").click()
    expect(page.locator("#state-of")).to_have_text("images/many")
    expect(page.locator("#state-summary")).to_have_text("5000 searchable (of the first 5000)")
    assert [asked["prefix"] for asked in fake.listed] == ["many/"] * 5
    assert [len(names) for names in fake.states_asked] == [250] * 20


def test_the_index_looks_once_into_folders_without_a_name(page: Page, site: str, fake: Fake):
    fake.names, fake.shows_photos = ["/lead.jpg", "a//b.jpg", "a/c.jpg"], False
    open_results(page, site, "?q=castle&bucket=images")
    page.get_by_role("button", name="Index").click()
    expect(page.locator("#state-summary")).to_have_text("3 searchable")
    assert sorted(asked["prefix"] for asked in fake.listed) == ["", "/", "a/", "a//"]


def test_a_look_at_the_index_ends_where_another_begins(page: Page, site: str, fake: Fake):
    fake.shows_photos = False
    fake.names += [f"many/{number:04}.jpg" for number in range(1500)]
    fake.held = "many/0250.jpg"
    open_results(page, site, "?q=castle&bucket=images&folder=many")
    with page.expect_request(lambda request: "many/0250.jpg" in (request.post_data or "")) as held:
        page.get_by_role("button", name="Index").click()
    page.locator("#filters").get_by_label("Folder").fill("tools")
    page.keyboard.press("Enter")
    expect(page.locator("#state-summary")).to_have_text("38 searchable")
    fake.held = None
    held.value.response()
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#state-summary")).to_have_text("38 searchable")
    assert sum(names[0].startswith("many/") for names in fake.states_asked) == 2


def test_a_mere_search_leaves_the_index_as_it_is(page: Page, site: str, fake: Fake):
    open_results(page, site, "?q=castle&bucket=images&folder=tools")
    page.get_by_role("button", name="Index").click()
    expect(page.locator("#state-summary")).to_have_text("38 searchable")
    listed = len(fake.listed)
    page.fill("#text", "hammer")
    page.press("#text", "Enter")
    expect(page).to_have_url(re.compile("q=hammer"))
    expect(page.locator("#status")).to_contain_text("most similar first")
    expect(page.locator("#state-summary")).to_have_text("38 searchable")
    assert len(fake.listed) == listed


def test_the_panel_of_uploads_never_covers_the_search(page: Page, site: str):
    for size in ({"width": 1280, "height": 860}, {"width": 390, "height": 844}):
        page.set_viewport_size(size)
        open_results(page, site)
        page.get_by_role("button", name="Add images").click()
        panel, box = page.locator("#uploads").bounding_box(), page.locator("#search").bounding_box()
        assert panel and box and panel["y"] >= box["y"] + box["height"]


def test_metadata_from_strangers_is_text(page: Page, site: str, fake: Fake):
    markup = "<img src=x onerror=alert(1)>"
    page.route("**/query", lambda route: route.fulfill(json=stranger(markup)))
    open_results(page, site)
    page.locator(".tile .open").first.click()
    expect(page.locator("#viewer-metadata dt")).to_have_text(markup)
    expect(page.locator("#viewer-metadata dd")).to_have_text(markup)
    assert page.locator("#viewer img[src=x]").count() == 0


def stranger(markup: str) -> dict[str, object]:
    result = {
        "id": 1,
        "bucket": "images",
        "name": f"{markup}.jpg",
        "similarity": 0.5,
        "confidence": "related",
    }
    result |= {"closest": None, "duplicates": [], "url": None, "metadata": {markup: markup}}
    return {"model": "m", "results": [result], "next_cursor": None, "notice": None}


def test_what_is_vendored_is_the_packages_own():
    packages = npm_packages.install(HERE)
    for name, source in (
        ("supabase.js", "@supabase/supabase-js/dist/umd/supabase.js"),
        ("any-ascii.js", "any-ascii/any-ascii.js"),
        ("block.js", "any-ascii/block.js"),
        ("LICENSE-supabase-js", "@supabase/supabase-js/LICENSE"),
        ("LICENSE-any-ascii", "any-ascii/LICENSE"),
    ):
        assert (QUERY / "page/vendor" / name).read_bytes() == (packages / source).read_bytes(), name


def test_browsers_load_the_pages_own_modules_and_styles_and_little_of_them(tmp_path: Path):
    npm_packages.install(HERE)
    subprocess.run(("npm", "run", "build", "--", f"--outdir={tmp_path}"), cwd=HERE, check=True, timeout=60)
    built = {path.name: path.read_bytes() for path in (QUERY / "built").iterdir()}
    assert built == {path.name: path.read_bytes() for path in tmp_path.iterdir()}, "Run `make page`."
    own = sum(map(len, built.values()))
    assert own + sum((QUERY / "page" / name).stat().st_size for name in ("index.html", "view.js")) < OWN_BYTES
