"""GET /docs: the API page, drawn in Chromium under the strict policy, from files of a pinned npm package."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import requests
from playwright.sync_api import Page, expect
from support import npm_packages

from local.stack import Stack
from shared.settings import CHECKOUT

HERE = Path(__file__).parent
REFERENCE = CHECKOUT / "functions" / "query" / "reference"


def test_it_draws_every_path_and_tries_a_search_without_a_breach_of_the_policy(
    page: Page, embedded_stack: Stack
):
    answer = page.goto(f"{embedded_stack.settings.query_url}/docs")
    assert answer and "style-src 'self'" in answer.headers["content-security-policy"]
    described = json.loads((CHECKOUT / "functions/query/openapi.json").read_text())["paths"]
    expect(page.locator(".opblock")).to_have_count(sum(map(len, described.values())), timeout=30_000)
    page.locator(".opblock-get", has_text="/live").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator("tbody .response-col_status").first).to_have_text("200", timeout=30_000)


def test_a_key_that_is_typed_in_is_gone_with_the_page(page: Page, embedded_stack: Stack):
    page.goto(f"{embedded_stack.settings.query_url}/docs")
    page.locator(".auth-wrapper .authorize").first.click(timeout=30_000)
    page.locator(".auth-container input").first.fill("sb_publishable_typed")
    page.locator(".auth-container button.authorize").first.click()
    expect(page.locator(".auth-container", has_text="Authorized").first).to_be_visible()
    assert "typed" not in page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    )


def test_its_files_are_readable_without_compression_too(embedded_stack: Stack):
    url = f"{embedded_stack.settings.query_url}/docs/swagger-ui.css"
    answers = [
        requests.get(url, headers={"Accept-Encoding": accepted}, timeout=30)
        for accepted in ("gzip", "identity")
    ]
    assert answers[0].content == answers[1].content and answers[1].text.startswith(".swagger-ui")


def test_the_renderer_is_the_pinned_packages_and_its_licence_is_noticed():
    package = npm_packages.install(HERE / "reference") / "swagger-ui-dist"
    version = json.loads((package / "package.json").read_text())["version"]
    notice = (REFERENCE / "NOTICE.txt").read_text()
    assert f"swagger-ui-dist {version}" in notice and "Apache License 2.0" in notice
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert gzip.decompress((REFERENCE / f"{name}.gz").read_bytes()) == (package / name).read_bytes()
