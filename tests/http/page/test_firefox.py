"""The page in Firefox, before the real embedded stack: one walk, and its sights."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import npm_packages, two_users
from support.fake_query import PHOTOS
from support.prerequisites import need
from support.two_users import OWN, SHARED

from local.stack import Stack

HERE = Path(__file__).parent
HOW_TO_GET_IT = "The page's walk needs Firefox: `apt-get install firefox-esr`, or firefox."
COW = "animals/cow.jpg"  # which no other test stores there


@pytest.fixture(scope="module")
def seen(embedded_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The sights of a visitor and of two users; screenshots beside them."""
    firefox = need("firefox", HOW_TO_GET_IT)
    npm_packages.install(HERE)
    two_users.fill(embedded_stack)
    two_users.store(embedded_stack, "images", COW, {})
    users = [{"email": email, "password": password} for email, password in OWN]
    given = {"users": users, "picture": str(PHOTOS / COW), "folder": str(tmp_path_factory.mktemp("firefox"))}
    address = f"{embedded_stack.url}/functions/v1/query/"
    walk = ("node", "firefox_walk.mjs", firefox, address, json.dumps(given))
    done = subprocess.run(walk, cwd=HERE, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_words_and_an_image_find_what_they_show(seen: dict[str, Any]):
    cow = f"images/{COW}"
    assert cow in seen["words"][:6]
    assert cow == seen["image"][0] == seen["imageAfterReload"][0]


def test_back_and_escape_close_the_larger_view_and_leave_the_results(seen: dict[str, Any]):
    name, outcome = seen["viewer"]["told"]
    assert outcome.startswith("Link copied")
    assert seen["viewer"]["kept"] == ["?q=a+cow", name]
    assert seen["viewer"]["after"] == "?q=a+cow"


def test_a_part_of_an_image_is_cut_out_and_searched(seen: dict[str, Any]):
    assert seen["part"]["drawn"] == [60, 30]
    assert seen["part"]["chip"].startswith("part of ") and seen["part"]["chip"].endswith(".jpg")


def test_filters_narrow_the_search(seen: dict[str, Any]):
    assert f"images/{SHARED}" in seen["filtered"]["names"]
    assert all(name.startswith("images/fish/") for name in seen["filtered"]["names"])


def test_an_upload_is_followed_until_it_is_searchable(seen: dict[str, Any]):
    assert seen["upload"] == ["firefox/cow.jpg", "searchable"]


def test_two_users_see_their_own_images_and_leave_nothing_behind(seen: dict[str, Any]):
    own = {email: {f"albums/{name}" for name in names} for (email, _), names in OWN.items()}
    assert {email: set(user["own"]) for email, user in seen["users"].items()} == own
    assert [user["left"] for user in seen["users"].values()] == [0, 0]


def test_firefox_complains_of_nothing_and_nothing_scrolls_sideways(seen: dict[str, Any]):
    assert seen["complaints"] == []
    assert not seen["sideways"]
