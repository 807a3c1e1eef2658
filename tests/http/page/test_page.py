"""The page before a stand-in for the query function: its states, its errors, and its requests."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from support.fake_query import PHOTOS, Fake
from support.waiting import eventually

from shared import errors
from shared.search.search import POOL, POOL_NOTICE

CASTLE = PHOTOS / "monuments/neuschwanstein_castle.jpg"
FOLDED = {"collapse": "duplicates"}  # copies, in every search
DOWN = {
    "type": "database-unavailable",
    "title": "…",
    "status": 503,
    "detail": "The database can't be reached.",
}


@pytest.fixture
def page(site: str, page: Page) -> Page:
    """Closed before the site is: it must not miss files that it still loads."""
    return page


def search(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def open_results(page: Page, site: str, address: str = "?q=castle") -> None:
    page.goto(site + address)
    expect(page.locator("#status")).to_contain_text("most similar first")


def add_example(page: Page, index: int, words: str) -> None:
    tile = page.locator(".tile").nth(index)
    tile.hover()
    tile.get_by_role("button", name=words).click()


def drop_file(page: Page, path: Path, zone: str, mime_type: str = "image/jpeg") -> None:
    data = base64.b64encode(path.read_bytes()).decode()
    transfer = page.evaluate_handle(
        """async ([data, name, type]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type }));
            return transfer;
        }""",
        [data, path.name, mime_type],
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    page.dispatch_event(f"[data-drop={zone}]", "dragover", {"dataTransfer": transfer})
    page.dispatch_event(f"[data-drop={zone}]", "drop", {"dataTransfer": transfer})


def sent_image(query: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(query["image"])))


def test_it_starts_with_some_of_the_collection(page: Page, site: str, fake: Fake):
    page.goto(site)
    expect(page.get_by_text("From this collection")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(24)
    expect(page.locator(".similarity").first).to_be_empty()  # nothing was asked that it could be similar to


def test_text_finds_images_with_their_similarity(page: Page, site: str, fake: Fake):
    page.goto(site)
    search(page, " a castle ")
    expect(page.locator(".tile .name").first).to_contain_text("castle")
    expect(page.locator(".similarity").first).to_have_text("0.93")
    assert fake.queries[-1] == {"text": "a castle", "limit": 24, **FOLDED}
    expect(page).to_have_title("a castle · Image search")


def test_images_load_before_their_tiles_are_shown_so_that_these_have_their_shape(page: Page, site: str):
    page.add_init_script(
        """addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
            if (document.querySelector(".open img")) window.shownAt ??= performance.now();
        }).observe(document.getElementById("results"), { childList: true }));"""
    )
    open_results(page, site)
    asked = "performance.getEntriesByType('resource').find(({ name }) => name.includes('photos/')).startTime"
    assert page.evaluate(f"{asked} < shownAt")


def test_an_address_with_a_search_is_drawn_as_results_from_the_first(page: Page, site: str):
    page.route("**/page.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    for address, view in (
        ("?q=castle", "results"),
        ("?like=images/a.jpg", "results"),
        ("?folder=a", "start"),
    ):
        page.goto(site + address)
        expect(page.locator("html")).to_have_attribute("data-view", view)


def test_back_and_reload_show_the_search_of_the_address(page: Page, site: str):
    open_results(page, site)
    search(page, "windmill")
    expect(page.locator(".tile .name").first).to_contain_text("windmill")
    assert page.url.endswith("?q=windmill")
    page.go_back()
    expect(page.locator(".tile .name").first).to_contain_text("castle")
    expect(page.locator("#text")).to_have_value("castle")
    page.reload()
    expect(page.locator(".tile .name").first).to_contain_text("castle")


def test_a_large_image_is_made_smaller_before_it_is_sent(page: Page, site: str, fake: Fake, wide_image: Path):
    page.goto(site)
    page.set_input_files("#pick-file", wide_image)
    expect(page.locator(".chip")).to_contain_text("wide.png")
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert sent_image(fake.queries[-1]).size == (1024, 512)


def test_a_small_image_is_sent_as_it_is(page: Page, site: str, fake: Fake):
    page.goto(site)
    page.set_input_files("#pick-file", CASTLE)
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert base64.b64decode(fake.queries[-1]["image"]) == CASTLE.read_bytes()


def test_an_image_can_be_dropped_to_search_with_it(page: Page, site: str, fake: Fake):
    page.goto(site)
    drop_file(page, CASTLE, "search")
    expect(page.locator(".chip")).to_contain_text(CASTLE.name)
    expect(page.locator("#dropping")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert "image" in fake.queries[-1] and fake.uploads == []


def test_an_image_can_be_dropped_to_add_it(page: Page, site: str, fake: Fake):
    page.goto(site)
    drop_file(page, CASTLE, "upload")
    expect(page.locator(".file .outcome")).to_have_text("Searchable")
    assert fake.uploads == [{"bucket": "images", "name": CASTLE.name, "size": CASTLE.stat().st_size}]


def test_a_dropped_file_that_is_no_image_is_refused_in_words(page: Page, site: str):
    page.goto(site)
    drop_file(page, PHOTOS / "ATTRIBUTION.tsv", "search", "text/tab-separated-values")
    expect(page.get_by_role("alert")).to_contain_text("That isn't an image")


def test_an_image_can_be_pasted(page: Page, site: str, fake: Fake):
    page.goto(site)
    page.evaluate(
        """async () => {
            const blob = await new Promise((resolve) => document.createElement("canvas").toBlob(resolve));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([blob], "", { type: blob.type }));
            window.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }"""
    )
    expect(page.locator(".chip")).to_contain_text("pasted image")
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert sent_image(fake.queries[-1]).size == (300, 150)


def test_a_reload_keeps_a_search_by_image(page: Page, site: str, fake: Fake, wide_image: Path):
    page.goto(site)
    page.set_input_files("#pick-file", wide_image)
    expect(page.locator("#status")).to_contain_text("most similar first")
    page.reload()
    expect(page.locator(".chip img")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert len(fake.queries) == 3 and fake.queries[1] == fake.queries[2]


def test_an_image_search_that_outlived_its_image_says_so(page: Page, site: str):
    page.goto(site)
    page.set_input_files("#pick-file", CASTLE)
    expect(page.locator("#status")).to_contain_text("most similar first")
    page.evaluate("sessionStorage.clear()")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("isn't kept")
    page.get_by_role("button", name="Remove the image").click()
    expect(page.get_by_text("From this collection")).to_be_visible()


def test_a_shared_link_says_what_it_cannot_carry(page: Page, site: str):
    page.goto(site + "?image=holiday.jpg")
    expect(page.get_by_role("alert")).to_contain_text("This link can't carry its image")
    expect(page.get_by_role("alert")).to_contain_text("“holiday.jpg”")


def test_examples_are_added_by_a_click_and_removed_by_their_chips(page: Page, site: str, fake: Fake):
    open_results(page, site)
    liked = page.locator(".tile .name").nth(0).get_attribute("title")
    add_example(page, 0, "More like this")
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.locator("#status")).to_contain_text("most similar first")
    unliked = page.locator(".tile .name").nth(1).get_attribute("title")
    add_example(page, 1, "Less like this")
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator("#status")).to_contain_text("most similar first")
    wanted = {"text": "castle", "like": [liked], "unlike": [unliked], "limit": 24, **FOLDED}
    assert fake.queries[-1] == wanted
    page.get_by_role("button", name="Remove: less like").click()
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.get_by_role("button", name="Remove: more like")).to_be_focused()
    expect(page.locator("#status")).to_contain_text("most similar first")
    assert fake.queries[-1] == {"text": "castle", "like": [liked], "limit": 24, **FOLDED}


def test_an_example_is_either_liked_or_unliked(page: Page, site: str):
    open_results(page, site, "?like=images/animals/giraffe.jpg")
    expect(page.locator(".tile .name").first).to_have_text("giraffe.jpg")
    add_example(page, 0, "Less like this")
    expect(page.locator(".chip[data-kind=unlike]")).to_have_count(1)
    expect(page.locator(".chip[data-kind=like]")).to_have_count(0)


def test_the_keyboard_alone_is_enough(page: Page, site: str):
    page.goto(site)
    page.get_by_label("Describe the image").focus()
    page.keyboard.type("castle")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("most similar first")
    page.locator(".tile .open").first.focus()
    page.keyboard.press("Enter")
    viewer = page.locator("#viewer")
    expect(viewer).to_be_visible()
    first = page.locator("#viewer-name").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-name")).not_to_have_text(first)
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.locator(".tile .open").nth(1)).to_be_focused()


def test_focus_can_be_seen(page: Page, site: str):
    open_results(page, site)
    page.locator("#text").focus()
    for _ in range(6):
        page.keyboard.press("Tab")
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid"


def test_the_larger_view_adds_examples_too(page: Page, site: str):
    open_results(page, site)
    page.locator(".tile .open").nth(1).click()
    name = page.locator("#viewer-name").inner_text()
    page.get_by_role("button", name="More like this", exact=True).click()
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator(".chip .name")).to_have_attribute("title", name)


def test_more_results_follow_the_ones_shown(page: Page, site: str, fake: Fake):
    fake.names = fake.names[:30]
    open_results(page, site, "?q=animals")
    page.get_by_role("button", name="Load more").click()
    expect(page.locator(".tile")).to_have_count(30)
    expect(page.locator("#status")).to_have_text("30 shown · most similar first")
    expect(page.locator(".tile .open").nth(24)).to_be_focused()
    assert fake.queries[-1]["cursor"] == "24"


def test_what_is_less_similar_is_shown_too_and_says_so_quietly(page: Page, site: str, fake: Fake):
    fake.found = 5
    open_results(page, site)
    expect(page.locator(".tile")).to_have_count(24)
    expect(page.locator('.tile[data-confidence="unrelated"]')).to_have_count(19)
    expect(page.locator(".divider")).to_have_text("Less similar")
    expect(page.locator(".tile .confidence").nth(4)).to_have_text("related")
    expect(page.locator(".tile .confidence").nth(5)).to_be_empty()
    expect(page.locator(".divider")).to_have_count(1)
    assert (
        page.locator(".divider + .tile .name").text_content()
        == page.locator(".tile .name").nth(5).text_content()
    )
    colours = [
        page.locator(".tile .name").nth(rank).evaluate("name => getComputedStyle(name).color")
        for rank in (4, 5)
    ]
    assert colours[0] != colours[1]


def test_nothing_more_is_offered_where_everything_is_shown(page: Page, site: str, fake: Fake):
    fake.tells, fake.names = False, fake.names[:5]
    open_results(page, site)
    expect(page.locator(".tile")).to_have_count(5)
    expect(page.locator("#more")).to_be_hidden()
    expect(page.locator(".tile .confidence").first).to_be_empty()


def test_each_result_says_quietly_what_its_similarity_means(page: Page, site: str):
    open_results(page, site)
    expect(page.locator(".tile .confidence").nth(0)).to_have_text("same image")
    expect(page.locator(".tile .confidence").nth(1)).to_have_text("strong")
    page.locator(".tile .open").nth(1).click()
    expect(page.locator("#viewer-facts")).to_contain_text("similarity 0.92 · strong · 2 of the first 24")


def test_with_several_examples_a_result_says_which_it_is_closest_to(page: Page, site: str):
    liked = "like=images/energy/windmill_1.jpg&like=images/energy/dam_1.jpg"
    open_results(page, site, f"?{liked}")
    page.locator(".tile .open").nth(1).click()
    expect(page.locator("#viewer-facts")).to_contain_text("closest to dam_1.jpg")


def test_an_unwanted_word_is_no_example_that_a_result_could_be_closest_to(page: Page, site: str):
    open_results(page, site, "?q=-snow&like=images/energy/windmill_1.jpg")
    page.locator(".tile .open").first.click()
    expect(page.locator("#viewer-facts")).to_contain_text("same image")
    expect(page.locator("#viewer-facts")).not_to_contain_text("closest")


def test_copies_are_folded_into_one_result_with_their_number(page: Page, site: str, fake: Fake):
    fake.copies = 2
    open_results(page, site, "?like=images/monuments/neuschwanstein_castle.jpg")
    expect(page.locator(".copies").first).to_have_text("+ 2 copies")
    expect(page.locator(".copies").nth(1)).to_be_hidden()
    page.locator(".tile .open").first.click()
    expect(page.locator("#viewer-copies a")).to_have_text(["images/copy-0.jpg", "images/copy-1.jpg"])
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-copies")).to_be_hidden()


def test_more_variety_is_a_switch_that_the_address_keeps(page: Page, site: str, fake: Fake):
    page.goto(site)
    expect(page.get_by_label("More variety")).to_be_hidden()
    search(page, "castle")
    page.get_by_label("More variety").check()
    expect(page).to_have_url(re.compile("varied=1"))
    expect(page.locator("#status")).to_have_text("24 shown, more below · varied")
    assert fake.queries[-1]["diversity"] == 0.4
    page.reload()
    expect(page.get_by_label("More variety")).to_be_checked()
    page.get_by_label("More variety").uncheck()
    expect(page).not_to_have_url(re.compile("varied"))


def test_where_only_the_best_exist_the_page_says_so_at_its_end(page: Page, site: str, fake: Fake):
    fake.end, fake.names = POOL_NOTICE, fake.names[:30]
    open_results(page, site, "?like=images/monuments/neuschwanstein_castle.jpg")
    expect(page.locator("#end")).to_be_empty()
    page.get_by_role("button", name="Load more").click()
    expect(page.locator("#end")).to_contain_text(f"Only the best {POOL} images are looked at, copies")


def test_the_focus_stays_among_the_results_where_no_more_came(page: Page, site: str, fake: Fake):
    open_results(page, site)
    fake.names = fake.names[:24]
    page.get_by_role("button", name="Load more").click()
    expect(page.get_by_role("button", name="Load more")).to_be_hidden()
    expect(page.locator(".tile .open").nth(23)).to_be_focused()


def test_skeletons_hold_the_place_while_a_search_takes_long(page: Page, site: str, fake: Fake):
    fake.held = "castle"
    page.goto(site + "?q=castle")
    expect(page.locator(".skeleton")).to_have_count(12)
    expect(page.locator("#status")).to_have_text("Searching …")
    fake.held = None
    expect(page.locator(".skeleton")).to_have_count(0)


def test_an_empty_collection_invites_to_add_images(page: Page, site: str, fake: Fake):
    fake.names = []
    page.goto(site)
    expect(page.get_by_role("heading", name="There are no images to show")).to_be_visible()
    page.locator("#message").get_by_role("button", name="Add images").click()
    expect(page.locator("#uploads")).to_be_visible()


def test_a_visitor_who_sees_no_image_is_told_the_possible_reasons(page: Page, site: str, fake: Fake):
    fake.names = []
    page.goto(site + "?q=castle")
    reasons = page.locator("#message").get_by_text("You may see no image here, for one of several reasons.")
    expect(reasons).to_be_hidden()
    page.get_by_text("Possible reasons").click()
    expect(reasons).to_be_visible()
    page.locator("#message").get_by_role("button", name="Sign in").click()
    expect(page.locator("#sign-in")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_where_nothing_fits_the_filters_the_page_says_so_above_them_and_clears_them(
    page: Page, site: str, fake: Fake, width: int
):
    page.set_viewport_size({"width": width, "height": 844})
    names, fake.names = fake.names, []
    page.goto(site + "?q=castle&bucket=nowhere")
    message = page.locator("#message")
    expect(message).to_contain_text("Nothing fits these filters")
    expect(message).to_contain_text("There is no bucket “nowhere”, or nothing in it that you may see.")
    clear = message.get_by_role("button", name="Clear filters")
    expect(clear).to_be_in_viewport(ratio=1)
    tools = page.locator("#open-filters").bounding_box()
    fake.names = names
    clear.click()
    expect(page).to_have_url(re.compile(r"\?q=castle$"))
    expect(page.locator(".tile").first).to_be_visible()
    if width > 1000:
        now = page.locator("#open-filters").bounding_box()
        assert tools and now and abs(tools["x"] - now["x"]) < 60  # its count is gone, no more


def test_metadata_without_a_value_is_refused_in_words(page: Page, site: str, fake: Fake):
    open_results(page, site, "?q=castle&folder=monuments")
    asked = len(fake.queries)
    field = page.locator("#filters").get_by_label("Metadata (key=value)")
    field.fill("camera")
    field.press("Tab")
    assert not field.evaluate("field => field.validity.valid")
    expect(field).to_be_focused()
    assert len(fake.queries) == asked and "meta" not in page.url
    field.fill("camera=K1")
    field.press("Tab")
    expect(page).to_have_url(re.compile("meta=camera"))


def test_a_search_that_nothing_is_similar_to_shows_the_nearest_below_one_quiet_line(
    page: Page, site: str, fake: Fake
):
    fake.found = 0
    page.goto(site + "?q=castle")
    expect(page.locator(".tile")).to_have_count(24)
    expect(page.locator("#message")).to_be_hidden()
    expect(page.locator(".divider")).to_have_text("No close match; the nearest are:")
    assert not any(page.locator(".tile .confidence").all_text_contents())
    page.get_by_role("button", name="Load more").click()
    expect(page.locator(".tile")).to_have_count(48)
    expect(page.locator(".divider")).to_have_count(1)


def test_no_line_parts_results_where_better_ones_follow_below_it(page: Page, site: str, fake: Fake):
    fake.found, fake.named = 5, 30
    page.goto(site + "?q=castle")
    expect(page.locator(".divider")).to_have_text("Less similar")
    page.get_by_role("button", name="Load more").click()
    expect(page.locator(".tile")).to_have_count(48)
    expect(page.locator(".tile .confidence").nth(30)).to_have_text("found by its name")
    expect(page.locator(".divider, .filler")).to_have_count(0)


def test_varied_results_that_nothing_is_similar_to_say_so_too(page: Page, site: str, fake: Fake):
    fake.found = 0
    page.goto(site + "?q=castle&varied=1")
    expect(page.locator(".divider")).to_have_text("No close match; the nearest are:")


def test_where_nothing_is_liked_nothing_is_less_similar(page: Page, site: str, fake: Fake):
    fake.found = 5
    page.goto(site + "?unlike=images/animals/giraffe.jpg")
    expect(page.locator(".tile")).to_have_count(24)
    expect(page.locator(".divider")).to_have_count(0)


@pytest.mark.parametrize(
    ("address", "found_by", "words"),
    [
        ("?q=castle", None, "most similar first"),
        ("?q=castle", ["image"], "most similar first"),
        ("?q=castle", ["image", "name"], "best first, by image, name and metadata"),
        ("?q=castle", ["metadata"], "best first, by image, name and metadata"),
        ("?q=castle&unlike=images/animals/giraffe.jpg", ["image"], "most similar first"),
        ("?unlike=images/animals/giraffe.jpg", ["image"], "least similar first"),
        ("?q=-snow", ["image"], "least similar first"),
        ("?q=castle&varied=1", ["image", "name"], "varied"),
    ],
)
def test_the_order_of_the_results_is_told_as_it_is(
    page: Page, site: str, fake: Fake, address: str, found_by: list[str] | None, words: str
):
    fake.found_by = found_by
    page.goto(site + address)
    expect(page.locator("#status")).to_have_text(f"24 shown, more below · {words}")


def test_results_found_by_their_names_stand_above_the_line_and_say_so(page: Page, site: str, fake: Fake):
    fake.found, fake.found_by = 0, ["name"]
    page.goto(site + "?q=castle")
    expect(page.locator(".tile .confidence").first).to_have_text("found by its name")
    expect(page.locator(".divider")).to_have_count(0)
    measure = "captions => captions.map(one => [one.offsetWidth, one.querySelector('.name').offsetWidth])"
    eventually(  # the name stays readable; tiles beyond the window may have no layout yet
        lambda: page.locator(".caption").evaluate_all(measure),
        10,
        wanted=lambda captions: captions and all(name > 0.4 * width for width, name in captions),
    )


def test_every_error_type_has_words_of_its_own(page: Page, site: str):
    page.goto(site)
    silent = page.evaluate(
        """async (types) => {
            const { Problem } = await import("/problems.js");
            const unknown = new Problem({ type: "no-such-type" }).words;
            return types.filter((type) => type !== "internal" && new Problem({ type }).words === unknown);
        }""",
        [error.type for error in errors.kinds(errors.NeuralSearchError)],
    )
    assert silent == []


def test_an_error_is_told_with_its_remedy_and_can_be_tried_again(page: Page, site: str, fake: Fake):
    fake.problem = DOWN
    page.goto(site + "?q=castle")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The database can't be reached")
    expect(alert).to_contain_text("Try again in a moment")
    fake.problem = None
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".tile .name").first).to_contain_text("castle")
    expect(alert).to_be_empty()


def test_an_image_that_is_refused_can_be_taken_out_of_the_search(page: Page, site: str, fake: Fake):
    page.goto(site + "?q=castle")
    fake.problem = {"type": "broken-image", "title": "…", "status": 422, "detail": "The image is cut off."}
    page.set_input_files("#pick-file", CASTLE)
    expect(page.get_by_role("alert")).to_contain_text("cut off or damaged")
    fake.problem = None
    page.get_by_role("button", name="Remove the image").click()
    expect(page.locator(".tile .name").first).to_contain_text("castle")


def test_what_a_proxy_answers_is_told_as_well(page: Page, site: str):
    page.route("**/query", lambda route: route.fulfill(status=413, body="<h1>Request Entity Too Large</h1>"))
    page.goto(site + "?q=castle")
    expect(page.get_by_role("alert")).to_contain_text("too much to send at once")


def test_a_lost_connection_is_told(page: Page, site: str):
    page.route("**/query", lambda route: route.abort())
    page.goto(site + "?q=castle")
    expect(page.get_by_role("alert")).to_contain_text("can't be reached")


def test_an_error_while_loading_more_keeps_what_is_shown(page: Page, site: str, fake: Fake):
    open_results(page, site)
    fake.problem = DOWN
    page.get_by_role("button", name="Load more").click()
    expect(page.get_by_role("alert")).to_contain_text("The database can't be reached")
    expect(page.locator(".tile")).to_have_count(24)
    fake.problem = None
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".tile")).to_have_count(48)


def test_a_model_without_a_text_side_disables_the_box_and_says_why(page: Page, site: str, fake: Fake):
    fake.problem = {"type": "text-unsupported", "title": "…", "status": 400, "detail": "No text side."}
    page.goto(site)
    expect(page.locator("#text")).to_be_disabled()
    expect(page.locator("#text-hint")).to_contain_text("doesn't understand words")
    fake.problem = None
    page.set_input_files("#pick-file", CASTLE)
    expect(page.locator("#status")).to_contain_text("most similar first")


def test_a_search_that_was_overtaken_is_not_shown(page: Page, site: str, fake: Fake):
    open_results(page, site)
    fake.held = "windmill"
    search(page, "windmill")
    eventually(lambda: "windmill" in str(fake.queries[-1]))
    search(page, "giraffe")
    expect(page.locator(".tile .name").first).to_have_text("giraffe.jpg")
    fake.held = None
    page.wait_for_timeout(200)
    expect(page.locator(".tile .name").first).to_have_text("giraffe.jpg")


def test_each_uploaded_file_has_its_outcome(page: Page, site: str, fake: Fake):
    page.goto(site)
    page.get_by_role("button", name="Add images").click()
    page.get_by_text("Saved to").click()
    page.locator("#uploads").get_by_label("Folder").fill("/new//castles/")
    page.set_input_files("#choose-files", [CASTLE, PHOTOS / "animals/giraffe.jpg"])
    expect(page.locator("#upload-summary")).to_have_text("Done: 2 of 2 searchable")
    assert sorted(upload["name"] for upload in fake.uploads) == [
        "new/castles/giraffe.jpg",
        "new/castles/neuschwanstein_castle.jpg",
    ]
    page.get_by_role("button", name="Find similar: new/castles/giraffe.jpg").click()
    expect(page.locator("#uploads")).to_be_hidden()
    expect(page.locator("#status")).to_be_in_viewport()
    expect(page.get_by_role("button", name="2 of 2 added")).to_be_visible()
    search(page, "windmill")
    page.get_by_role("button", name="2 of 2 added").click()
    expect(page.locator("#uploads")).to_be_visible()
    expect(page.locator("#folded")).to_be_hidden()
    page.go_back()
    expect(page.locator("#uploads")).to_be_hidden()
    expect(page.locator(".chip .name")).to_have_attribute("title", "images/new/castles/giraffe.jpg")


def test_uploads_go_where_the_visitors_filter_or_field_says_and_never_where_results_or_links_do(
    page: Page, site: str, fake: Fake
):
    fake.bucket = "albums"
    open_results(page, site)
    page.get_by_role("button", name="Add images").click()
    expect(page.locator("#target")).to_have_text("images")
    open_results(page, site, "?q=castle&bucket=theirs")
    page.fill("#text", "hammer")
    page.press("#text", "Enter")
    expect(page).to_have_url(re.compile("q=hammer.*bucket=theirs|bucket=theirs.*q=hammer"))
    page.get_by_role("button", name="Add images").click()
    expect(page.locator("#target")).to_have_text("images")
    page.locator("#filters").get_by_label("Bucket").fill("albums")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("bucket=albums"))
    expect(page.locator("#target")).to_have_text("albums")
    page.get_by_role("button", name="Add images").click()
    page.get_by_text("Saved to").click()
    page.locator("#uploads").get_by_label("Bucket").fill("drafts")
    page.locator("#filters").get_by_label("Bucket").fill("images")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("bucket=images"))
    page.set_input_files("#choose-files", CASTLE)
    expect(page.locator("#upload-summary")).to_have_text("Done: 1 of 1 searchable")
    assert fake.uploads[-1]["bucket"] == "drafts"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"state": "skipped", "reason": "The file is empty."}, "Skipped: The file is empty."),
        ({"state": "failed", "reason": "The model broke."}, "Failed: The model broke."),
        (
            {"state": "ignored", "reason": "The bucket isn't indexed."},
            "Stored, but not searchable: The bucket",
        ),
        (
            {
                "type": "storage-forbidden",
                "status": 403,
                "detail": "new row violates row-level security policy",
            },
            "Failed: Visitors may not do this here. new row violates",
        ),
        (
            {"type": "not-an-image", "status": 422, "detail": "The file is no image. Upload a JPEG."},
            "Failed: This file isn't an image that can be read. Use a JPEG,",
        ),
    ],
)
def test_an_upload_says_in_words_what_became_of_it(
    page: Page, site: str, fake: Fake, answer: dict[str, Any], words: str
):
    fake.upload = answer
    page.goto(site)
    page.set_input_files("#choose-files", CASTLE)
    expect(page.locator(".file .outcome")).to_contain_text(words)
    expect(page.locator("#upload-summary")).to_have_text("Done: 0 of 1 searchable")
    again = page.get_by_role("button", name="Try again")
    expect(again).to_have_count(int(answer.get("type") == "storage-forbidden"))  # the same file fails again


def test_an_upload_is_followed_until_it_is_searchable(page: Page, site: str, fake: Fake):
    fake.upload = {"state": "pending", "reason": None}
    fake.states = {CASTLE.name: "pending"}
    page.goto(site)
    page.set_input_files("#choose-files", CASTLE)
    expect(page.locator(".file .outcome")).to_have_text("Stored; it becomes searchable in a moment")
    expect(page.locator("#upload-summary")).to_have_text("0 of 1 done")
    fake.states = {}
    expect(page.locator(".file .outcome")).to_have_text("Searchable")
    expect(page.locator("#upload-summary")).to_have_text("Done: 1 of 1 searchable")


def test_an_upload_is_followed_over_a_reload(page: Page, site: str, fake: Fake):
    fake.upload = {"state": "pending", "reason": None}
    fake.states = {CASTLE.name: "pending"}
    page.goto(site)
    page.set_input_files("#choose-files", CASTLE)
    expect(page.locator(".file .outcome")).to_contain_text("Stored")
    page.reload()
    expect(page.locator(".file .name")).to_have_text(CASTLE.name)
    fake.states = {CASTLE.name: "failed"}
    expect(page.locator(".file .outcome")).to_contain_text("Failed")


def test_an_upload_that_a_reload_interrupted_is_told_as_such(page: Page, site: str, fake: Fake):
    fake.held = CASTLE.name
    page.goto(site)
    page.set_input_files("#choose-files", CASTLE)
    expect(page.locator(".file .outcome")).to_contain_text("Making it searchable")
    fake.states = {CASTLE.name: "unknown"}
    page.reload()
    fake.held = None
    expect(page.locator(".file .outcome")).to_contain_text("Interrupted")


def test_leaving_is_warned_of_only_while_something_is_sent(page: Page, site: str, fake: Fake):
    page.goto(site)
    leaving = "!dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert not page.evaluate(leaving)
    page.route("**/embeddings?wait=1", lambda route: None)  # never answered
    page.set_input_files("#choose-files", [CASTLE] * 4)
    expect(page.locator(".file[data-state=waiting]")).to_have_count(1)
    assert page.evaluate(leaving)
    page.evaluate("sessionStorage.clear()")


def test_an_upload_waits_as_long_as_a_busy_server_asks(page: Page, site: str, fake: Fake):
    busy = '{"type": "busy", "status": 503, "detail": "Busy."}'
    kind = "application/problem+json"
    page.route(
        "**/embeddings?wait=1",
        lambda route: route.fulfill(status=503, body=busy, content_type=kind, headers={"Retry-After": "1"}),
        times=1,
    )
    page.goto(site)
    page.set_input_files("#choose-files", CASTLE)
    expect(page.locator(".file .outcome")).to_contain_text("Trying again in 1 s")
    expect(page.locator(".file .outcome")).to_have_text("Searchable")


def test_a_name_that_is_taken_can_be_kept_beside_the_old_one(page: Page, site: str, fake: Fake):
    fake.upload = {
        "type": "object-exists",
        "status": 409,
        "detail": "There is an object with this name already.",
    }
    page.goto(site)
    page.set_input_files("#choose-files", CASTLE)
    expect(page.locator(".file .outcome")).to_contain_text("This name is taken")
    fake.upload = {"state": "searchable", "reason": None}
    page.get_by_role("button", name="Keep both").click()
    expect(page.locator(".file .outcome")).to_have_text("Searchable")
    assert fake.uploads[-1]["name"] == "neuschwanstein_castle-2.jpg"


def test_file_names_become_names_that_storage_takes(page: Page, site: str, fake: Fake, tmp_path: Path):
    names = ("Schloß Änderung #1 (50%).jpg", "größe.jpg", "写真.jpg", "плитка.jpg", "plain name.jpg")
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_bytes(CASTLE.read_bytes())
    page.goto(site)
    page.set_input_files("#choose-files", paths)
    expect(page.locator(".file[data-state=searchable]")).to_have_count(5)
    sent = {"Schloss Anderung -1 (50-).jpg", "grosse.jpg", "XieZhen.jpg", "plitka.jpg", "plain name.jpg"}
    assert {upload["name"] for upload in fake.uploads} == sent
    expect(page.locator(".file .name").filter(has_text="写真.jpg → XieZhen.jpg")).to_be_visible()
    expect(page.locator(".file .name").filter(has_text="plain name.jpg")).to_have_text("plain name.jpg")


def test_markup_in_names_and_answers_is_shown_as_text(page: Page, site: str, fake: Fake):
    markup = "<img src=x onerror=alert(1)>.jpg"
    fake.names = [markup]
    fake.shows_photos = False
    open_results(page, site, "?like=%3Cb%3Ebold")
    expect(page.locator(".tile .name")).to_have_text(markup)
    expect(page.locator(".chip .name")).to_have_text("<b>bold")
    assert page.locator("#results img[src=x], .chip b").count() == 0


def test_object_urls_are_let_go(page: Page, site: str):
    page.add_init_script(
        """window.kept = new Set();
        const { createObjectURL, revokeObjectURL } = URL;
        URL.createObjectURL = (blob) => { const url = createObjectURL(blob); kept.add(url); return url; };
        URL.revokeObjectURL = (url) => { kept.delete(url); revokeObjectURL(url); };"""
    )
    page.goto(site)
    page.set_input_files("#pick-file", CASTLE)
    page.set_input_files("#choose-files", [CASTLE, PHOTOS / "ATTRIBUTION.tsv"])
    expect(page.locator("#upload-summary")).to_have_text("Done: 2 of 2 searchable")
    expect(page.locator(".chip img")).to_be_visible()
    eventually(lambda: page.evaluate("kept.size === 0"))


def test_nothing_scrolls_sideways_at_320_pixels(page: Page, site: str):
    page.set_viewport_size({"width": 320, "height": 640})
    too_wide = "document.documentElement.scrollWidth > innerWidth"
    for address in ("", "?q=castle", f"?like=images/{'a' * 200}.jpg&unlike=images/{'word ' * 40}.jpg"):
        page.goto(site + address)
        expect(page.locator(".tile.loaded").first).to_be_visible()
        assert not page.evaluate(too_wide), address
    page.get_by_role("button", name="Add images").click()
    page.set_input_files("#choose-files", CASTLE)
    assert not page.evaluate(too_wide)
    page.locator("#close-uploads").click()
    page.locator(".tile .open").first.click()
    assert not page.evaluate(too_wide)


def test_dark_and_light_follow_the_visitors_choice(page: Page, site: str):
    page.goto(site)
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(251, 251, 249)", "rgb(17, 18, 20)"]


def test_motion_stops_for_those_who_want_none(page: Page, site: str):
    page.goto(site)
    assert page.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches")
    assert page.locator("#uploads").evaluate("(panel) => getComputedStyle(panel).animationName") == "none"
