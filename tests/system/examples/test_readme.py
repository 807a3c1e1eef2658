"""The README: short, and its snippets are files that run, as a reader copies them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
import requests
from support import npm_packages
from support.waiting import eventually

from local.stack import Stack
from shared import settings
from shared.settings import CHECKOUT, bare_environment

README = (CHECKOUT / "README.md").read_text()
SNIPPETS = CHECKOUT / "examples" / "snippets"
MONUMENTS = sorted((CHECKOUT / "examples/images/monuments").glob("*.jpg"))
KINDS = {"js": "search.mjs", "python": "search.py", "sql": "search.sql", "sh": "search.sh"}
CASTLES = ("chateau_de_chambord", "schwerin_palace", "cite_de_carcassonne", "palaisdes_papes")


@pytest.fixture(scope="module")
def filled(embedded_stack: Stack) -> Stack:
    """With the photographs that the snippets name, as the demo has them."""
    key = {"apikey": str(embedded_stack.settings.publishable_key)}
    names = [f"monuments/{path.name}" for path in MONUMENTS]
    for path, name in zip(MONUMENTS, names, strict=True):
        url = f"{embedded_stack.url}/storage/v1/object/images/{name}"
        headers = key | {"Content-Type": "image/jpeg", "x-upsert": "true"}
        requests.post(url, data=path.read_bytes(), headers=headers, timeout=30).raise_for_status()
    eventually(lambda: states(embedded_stack, names, key) == {"searchable"}, 120)
    return embedded_stack


def states(stack: Stack, names: Sequence[str], key: dict[str, str]) -> set[str]:
    asked = {"bucket": "images", "names": names}
    answer = requests.post(f"{stack.url}/rest/v1/rpc/object_states", json=asked, headers=key, timeout=30)
    return {row["state"] for row in answer.json()}


def output(stack: Stack, kind: str) -> str:
    """The snippet's output, with the settings that `neural-search status --env` prints."""
    if kind == "sql":
        with psycopg.connect(str(stack.settings.database_url)) as connection:
            return str(connection.execute((SNIPPETS / KINDS[kind]).read_bytes()).fetchall())
    if kind == "js":
        npm_packages.install(SNIPPETS)
    command: list[str | Path] = {"js": ["node"], "python": [sys.executable], "sh": ["sh", "-eu"]}[kind]
    environment = settings.environment(stack.settings) | {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [*command, SNIPPETS / KINDS[kind]],
        cwd=CHECKOUT, env=bare_environment(environment), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_snippet_finds_castles(filled: Stack, kind: str):
    told = output(filled, kind)
    assert sum(castle in told for castle in CASTLES) >= 2, told


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_shows_the_snippet_as_it_runs(kind: str):
    section = README.split("\n## Put it into your app\n")[1].split("\n## ")[0]
    blocks = re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)
    assert (SNIPPETS / KINDS[kind]).read_text() in blocks


def test_it_is_read_in_five_minutes():
    assert len(README.split()) <= 1200


@pytest.mark.parametrize("path", ["README.md", "examples/README.md"])
def test_no_line_is_longer_than_a_terminal(path: str):
    assert [line for line in (CHECKOUT / path).read_text().splitlines() if len(line) > 130] == []


def test_the_albums_hold_as_many_images_as_it_says():
    for name, folder, kind in (("Ada", "household", "household things"), ("Grace", "tools", "tools")):
        images = len(list((CHECKOUT / "examples" / "images" / folder).glob("*.jpg")))
        assert re.search(rf"{name} (also sees )?{images} {kind}", README), (name, images)


def test_following_it_leaves_no_file_untracked():
    """npm's lock names the registry of the machine that it was made on."""
    folders = [path.parent for path in CHECKOUT.glob("[ep]*/*/package.json")]
    locks = [folder / "package-lock.json" for folder in folders]
    done = subprocess.run(["git", "check-ignore", *locks], cwd=CHECKOUT, capture_output=True, text=True)
    assert len(locks) >= 3 and len(done.stdout.splitlines()) == len(locks)


def test_its_links_lead_somewhere():
    targets = {link.split("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", README)}
    assert [target for target in sorted(targets) if not (CHECKOUT / target).exists()] == []
