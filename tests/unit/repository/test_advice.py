"""Messages and docs advise only commands that exist, with options that they have."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from cli.__main__ import app
from shared.settings import CHECKOUT

PLACES = ("cli", "shared", "local", "functions", "supabase/sql")
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "deploy/*.md", "examples/*.md", "functions/*/*.md")
ADVICE = re.compile(r"`neural-search ([a-z][^`{]*)")
IN_SHELL = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*neural-search ([a-z][^#\n]*)", re.MULTILINE)
BROKEN_LINE = re.compile(r'"\s*\n\s*f?"')  # a text that goes on in the next line


def advice() -> Iterator[str]:
    for place in PLACES:
        for path in sorted((CHECKOUT / place).rglob("*")):
            if path.suffix in (".py", ".sql") and path.is_file():
                yield from ADVICE.findall(BROKEN_LINE.sub("", path.read_text()))
    for text in (path.read_text() for page in PAGES for path in sorted(CHECKOUT.glob(page))):
        yield from (*ADVICE.findall(text), *IN_SHELL.findall(text))


@functools.cache
def whole_command() -> Any:
    return typer.main.get_command(app)


@pytest.mark.parametrize("words", sorted(set(advice())))
def test_what_is_advised_exists(words: str):
    command: Any = whole_command()
    for word in (given.strip("[],.") for given in words.split()):
        if word.startswith("--"):
            options = {name for parameter in command.params for name in parameter.opts}
            assert word in options, f"{command.name} has no option {word!r}"
        elif subcommands := getattr(command, "commands", None):
            assert word in subcommands, f"there is no command {word!r}"
            command = subcommands[word]


@pytest.mark.parametrize(
    "words",
    ["frobnicate", "buckets remove NAME", "models add NAME --nope", "evaluate emoji --outputs report"],
)
def test_what_does_not_exist_is_noticed(words: str):
    with pytest.raises(AssertionError, match=r"there is no command|has no option"):
        test_what_is_advised_exists(words)
