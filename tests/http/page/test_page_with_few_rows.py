"""The page before a project whose "Max rows" is low."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.command_line import write_picture
from support.databases import clone
from support.running_project import Running, running

from local.gateway.rest import parameters
from local.postgres import Cluster

NAMES = [f"{number}.png" for number in range(5)]


@pytest.fixture
def project(cluster: Cluster, template: str, tmp_path: Path) -> Iterator[Running]:
    write_picture(tmp_path / "picture.png")
    with clone(cluster, template) as database, running(database.url, tmp_path) as project:
        bucket = project.service().storage.from_("images")
        for name in NAMES:
            bucket.upload(name, tmp_path / "picture.png", {"content-type": "image/png"})
        for name in NAMES:
            project.eventually(lambda name=name: project.state(name)[0], "searchable")
        yield project


def test_the_state_of_each_image_is_told(project: Running, page: Page, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parameters, "MAX_ROWS", 2)
    page.goto(f"{project.url}/functions/v1/query/?q=red&bucket=images")
    page.get_by_role("button", name="Index").click()
    expect(page.locator("#state-summary")).to_have_text("5 searchable")
