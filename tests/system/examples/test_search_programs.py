"""The examples as their README says to run them, in processes of their own, on the embedded stack."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import npm_packages
from support.prerequisites import need

from local.stack import Stack
from shared import settings
from shared.settings import CHECKOUT, bare_environment

EXAMPLES = CHECKOUT / "examples"
ANIMALS = EXAMPLES / "images" / "animals"
TOLD = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "QUERY_URL")
FOUND = re.compile(r'(?:^\d\.\d{3}  images/|"name": ")([^"\n]+)', re.MULTILINE)

Run = Callable[[Path, str], subprocess.CompletedProcess[str]]


@pytest.fixture(params=["python", "javascript", "curl"])
def run(request: pytest.FixtureRequest, embedded_stack: Stack) -> Run:
    """Each example in turn, with an app's settings from `neural-search status --env`."""
    mine = settings.environment(embedded_stack.settings)
    environment = bare_environment({name: mine[name] for name in TOLD})
    command = COMMANDS[request.param]()
    return lambda image, words: subprocess.run(
        [*command, image, words], env=environment, capture_output=True, text=True, timeout=60
    )


def python() -> list[str | Path]:
    return [sys.executable, EXAMPLES / "python" / "search.py"]


def javascript() -> list[str | Path]:
    npm_packages.install(EXAMPLES / "javascript")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    is_old = int(version[1:].split(".")[0]) < 22  # supabase-js asks for a WebSocket, which is part of 22
    flags = ["--experimental-websocket"] if is_old else []
    return ["node", *flags, EXAMPLES / "javascript" / "search.mjs"]


def curl() -> list[str | Path]:
    need("curl", "These tests need curl: `apt-get install curl`.")
    return [EXAMPLES / "curl" / "search.sh"]


COMMANDS = {"python": python, "javascript": javascript, "curl": curl}


def test_an_uploaded_image_is_found_by_itself_and_by_words(run: Run):
    done = run(ANIMALS / "panda.jpg", "a panda")
    assert done.returncode == 0, done.stderr
    like_it, by_words = done.stdout.split("\na panda:\n")
    assert like_it.startswith("Like panda.jpg:\n")
    # Other tests may have stored the same picture in this project.
    assert all("examples/panda.jpg" in FOUND.findall(part)[:3] for part in (like_it, by_words))


def test_an_image_that_is_there_already_is_replaced(run: Run):
    done = run(ANIMALS / "panda.jpg", "a panda")  # which every example stores under the same name
    assert done.returncode == 0, done.stderr


def test_what_is_no_image_ends_it_with_the_reason(run: Run, tmp_path: Path):
    file = tmp_path / "fake.jpg"
    file.write_text("no image")
    done = run(file, "a panda")
    assert done.returncode == 1 and "The file is no image." in done.stderr
    assert FOUND.findall(done.stdout) == []


def test_the_readme_shows_how_to_run_each_example():
    readme = (EXAMPLES / "README.md").read_text()
    programs = [
        path.relative_to(EXAMPLES).as_posix()
        for path in EXAMPLES.glob("*/search.*")
        if path.parent.name in COMMANDS
    ]
    assert len(programs) == len(COMMANDS)
    assert [program for program in programs if f"{program} images/" not in readme] == []
