"""Signing in on the page, before the real embedded stack: two users, each with images of their own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import jwt
import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect
from support import two_users
from support.fake_query import PHOTOS
from support.page_status import BY_MATCH
from support.two_users import ADA, GRACE, OWN, bearer, key, store

from local import keys
from local.stack import Stack

SOON = 30_000  # ms; a first query may have to wake the model


@pytest.fixture(scope="module")
def stack(embedded_stack: Stack) -> Stack:
    two_users.fill(embedded_stack)
    return embedded_stack


@pytest.fixture
def page(stack: Stack, page: Page) -> Page:
    open_page(stack, page)
    return page


@pytest.fixture
def other(stack: Stack, chromium: Browser) -> Iterator[Page]:
    """Another visitor's browser."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    open_page(stack, page)
    yield page
    context.close()


def open_page(stack: Stack, page: Page, address: str = "") -> None:
    page.goto(f"{stack.url}/functions/v1/query/{address}")
    expect(page.locator(".tile.loaded").first).to_be_visible(timeout=SOON)


def sign_in(page: Page, user: tuple[str, str]) -> None:
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("E-mail").fill(user[0])
    page.get_by_label("Password").fill(user[1])
    page.get_by_label("Password").press("Enter")
    expect(page.locator("#who")).to_have_text(user[0])


def see(page: Page) -> Locator:
    """Everything that the visitor sees of albums."""
    page.get_by_role("button", name="Filters").click()
    page.locator("#filters").get_by_label("Bucket").fill("albums")
    page.locator("#filters").get_by_label("Bucket").press("Enter")
    expect(page).to_have_url(re.compile("bucket=albums"))
    return page.locator(".tile .name")


def titles(page: Page) -> set[str | None]:
    return {name.get_attribute("title") for name in page.locator(".tile .name").all()}


def test_two_users_each_see_their_own_images_and_what_is_shared(page: Page, other: Page):
    for visitor, user in ((page, ADA), (other, GRACE)):
        sign_in(visitor, user)
        expect(visitor.locator(".tile .name[title^='images/']").first).to_be_attached(timeout=SOON)
        expect(see(visitor)).to_have_count(2, timeout=SOON)
        assert titles(visitor) == {f"albums/{name}" for name in OWN[user]}
        visitor.fill("#text", "a hammer beside a cup")
        visitor.press("#text", "Enter")
        expect(visitor.locator("#status")).to_contain_text(BY_MATCH, timeout=SOON)
        assert titles(visitor) == {f"albums/{name}" for name in OWN[user]}


def test_another_users_image_is_never_found_by_its_name(stack: Stack, page: Page):
    sign_in(page, GRACE)
    page.goto(f"{stack.url}/functions/v1/query/?like=albums/{OWN[ADA][0]}")
    expect(page.get_by_role("alert")).to_contain_text("no longer there", timeout=SOON)
    expect(page.locator(".chip img")).to_have_count(0)
    expect(page.locator(".tile")).to_have_count(0)


def test_after_signing_out_nothing_of_the_users_is_left(page: Page):
    sign_in(page, ADA)
    expect(see(page)).to_have_count(2, timeout=SOON)
    use_all_that_shows_names(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#message")).to_contain_text("you aren't signed in", timeout=SOON)
    expect(page.locator(".tile")).to_have_count(0)
    expect(page.locator(".file")).to_have_count(0)
    expect(page.locator("#folders option")).to_have_count(0)
    expect(page.locator("#buckets option[value=albums]")).to_have_count(0)
    expect(page.locator("#state-summary")).to_have_text("You see no files here.")
    expect(page.locator("#uploads").get_by_label("Folder")).to_have_value("")
    html = page.content()
    assert not [part for name in OWN[ADA] for part in name.split("/") if part in html]
    assert page.evaluate("[localStorage.length, Object.keys(sessionStorage)]") == [0, []]


def use_all_that_shows_names(page: Page) -> None:
    """The suggestions of filters, the larger view, an upload whose name is taken, the state of the index."""
    page.locator("#filters").get_by_label("Folder").focus()
    expect(page.locator("#folders option")).to_have_count(1)
    expect(page.locator("#buckets option[value=albums]")).to_have_count(1)
    page.locator(".tile .open").first.click()
    expect(page.locator("#viewer-facts")).to_contain_text("added")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add images").click()
    page.get_by_text("Saved to").click()
    page.locator("#uploads").get_by_label("Folder").fill("household")
    page.set_input_files("#choose-files", PHOTOS / OWN[ADA][0])
    expect(page.locator(".file[data-state=taken]")).to_be_visible(timeout=SOON)
    page.get_by_role("button", name="Index", exact=True).click()
    expect(page.locator("#state-summary")).to_have_text("2 searchable", timeout=SOON)


def test_a_reload_keeps_the_session(page: Page):
    sign_in(page, ADA)
    expect(see(page)).to_have_count(2, timeout=SOON)
    page.reload()
    expect(page.locator("#who")).to_have_text(ADA[0])
    expect(page.locator(".tile")).to_have_count(2, timeout=SOON)


def test_a_wrong_password_is_told_and_nobody_is_signed_in(page: Page):
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("E-mail").fill(ADA[0])
    page.get_by_label("Password").fill("wrong")
    page.get_by_label("Password").press("Enter")
    expect(page.locator("#sign-in-error")).to_have_text("Invalid login credentials")
    expect(page.locator("#who")).to_be_empty()


def test_a_pasted_token_shows_what_its_user_sees(stack: Stack, page: Page):
    token = bearer(stack, GRACE)["Authorization"].removeprefix("Bearer ")
    paste(page, token)
    expect(page.locator("#who")).to_have_text(GRACE[0])
    expect(see(page)).to_have_count(2, timeout=SOON)
    assert titles(page) == {f"albums/{name}" for name in OWN[GRACE]}


def paste(page: Page, token: str) -> None:
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Use a token instead").click()
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Use this token").click()


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("sb_secret_abc", "must not be used in a browser"),
        (jwt.encode({"role": "service_role"}, "x" * 32), "must not be used in a browser"),
        ("not a token", "isn't a token of a user"),
        (jwt.encode({"exp": 1, "sub": "a"}, "x" * 32), "time is over"),
    ],
)
def test_what_is_no_valid_token_is_refused_in_words(page: Page, token: str, words: str):
    paste(page, token)
    expect(page.locator("#sign-in-error")).to_contain_text(words)
    expect(page.locator("#who")).to_be_empty()


def test_a_forged_token_signs_out_with_a_word_and_keeps_the_query(stack: Stack, page: Page):
    page.fill("#text", "a fish")
    page.press("#text", "Enter")
    expect(page.locator("#status")).to_contain_text(BY_MATCH, timeout=SOON)
    forged = jwt.encode(
        {"exp": time.time() + 600, "sub": "a", "role": "authenticated", "email": "x@example.com"}, "x" * 32
    )
    paste(page, forged)
    expect(page.get_by_role("alert").filter(has_text="signed out")).to_contain_text("Your search is kept")
    expect(page.locator("#who")).to_be_empty()
    expect(page.locator("#text")).to_have_value("a fish")
    expect(page.locator(".tile").first).to_be_visible(timeout=SOON)
    assert "q=a+fish" in page.url


def test_a_session_that_ended_elsewhere_signs_out_with_a_word(stack: Stack, page: Page):
    """Expired, and its refresh token worth nothing any more."""
    sign_in(page, ADA)
    expect(see(page)).to_have_count(2, timeout=SOON)
    stored = json.loads(page.evaluate("localStorage.getItem('neural-search-session')"))
    mine = keys.load(stack.settings.local_data)
    stored |= {"access_token": mine.mint("authenticated", {"sub": "a"}, lifetime=-60), "expires_at": 1}
    stored["refresh_token"] = "gone"
    page.evaluate("text => localStorage.setItem('neural-search-session', text)", json.dumps(stored))
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="signed out")).to_be_visible(timeout=SOON)
    assert "bucket=albums" in page.url


def test_tokens_stay_out_of_addresses_and_logs(stack: Stack, page: Page):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, ADA)
    expect(see(page)).to_have_count(2, timeout=SOON)
    token = json.loads(page.evaluate("localStorage.getItem('neural-search-session')"))
    logs = "".join(path.read_text() for path in (stack.settings.local_data / "logs").glob("*.log"))
    for secret in (token["access_token"], token["refresh_token"], ADA[1]):
        assert secret not in logs
        assert not [url for url in asked if secret in url]


def test_owners_delete_their_images_and_nobody_elses(stack: Stack, page: Page):
    store(stack, "albums", "household/pan.jpg", bearer(stack, ADA))
    sign_in(page, ADA)
    expect(see(page)).to_have_count(3, timeout=SOON)
    page.locator(".tile", has=page.get_by_text("pan.jpg", exact=True)).hover()
    page.get_by_label("Select pan.jpg").check()
    page.get_by_role("button", name="Delete").click()
    page.locator("#confirm-delete").get_by_role("button", name="Delete").click()
    expect(page.locator(".tile")).to_have_count(2)
    page.reload()
    expect(page.locator(".tile")).to_have_count(2, timeout=SOON)


def test_an_upload_is_the_users_own(stack: Stack, page: Page):
    sign_in(page, GRACE)
    page.get_by_role("button", name="Add images").click()
    page.get_by_text("Saved to").click()
    page.locator("#uploads").get_by_label("Bucket").fill("albums")
    page.locator("#uploads").get_by_label("Folder").fill("tools")
    page.set_input_files("#choose-files", PHOTOS / "tools/hammer5.jpg")
    expect(page.locator(".file[data-state=searchable]")).to_be_visible(timeout=SOON)
    assert (
        requests.delete(
            f"{stack.url}/storage/v1/object/albums",
            json={"prefixes": ["tools/hammer5.jpg"]},
            headers={**key(stack), **bearer(stack, ADA)},
            timeout=30,
        ).json()
        == []
    )  # not Ada's
    page.get_by_role("button", name="Filters").click()
    page.locator("#filters").get_by_label("Bucket").fill("albums")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Index", exact=True).click()
    expect(page.locator("#state-summary")).to_contain_text("3 searchable", timeout=SOON)
    requests.delete(
        f"{stack.url}/storage/v1/object/albums",
        json={"prefixes": ["tools/hammer5.jpg"]},
        headers={**key(stack), **bearer(stack, GRACE)},
        timeout=30,
    ).raise_for_status()
