"""A newcomer's commands of the first minutes."""

from __future__ import annotations

from typing import Any

import pytest
from support.command_line import CommandLine


@pytest.fixture(scope="module")
def printed(stack: CommandLine) -> str:
    return stack.spawn("demo", "--once").stdout


@pytest.fixture(scope="module")
def demo(stack: CommandLine, printed: str) -> CommandLine:
    return stack


def search(demo: CommandLine, *arguments: str) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = demo.json("query", *arguments)["results"]
    return results


@pytest.mark.parametrize("words", ["windmill", "giraffe", "dog", "a horse in a field"])
def test_plain_words_are_answered(demo: CommandLine, words: str):
    results = search(demo, "--text", words)
    assert len(results) == 10
    assert all(result["confidence"] for result in results)


def test_a_name_is_found_first_and_says_so(demo: CommandLine):
    [first] = search(demo, "--text", "windmill", "--limit", "1")
    assert "windmill" in first["name"] and "name" in first["found_by"]


def test_the_demo_says_what_was_found_by_its_name(printed: str):
    assert "  monuments/castle_clinton.jpg  (found by name)\n" in printed
    assert "  energy/windmill_3.jpg\n" in printed


@pytest.mark.parametrize("arranged", [("--collapse",), ("--diversity", "0.3")])
def test_a_name_is_found_first_where_results_are_folded_or_varied(demo: CommandLine, arranged: tuple[str]):
    first, *_ = search(demo, "--text", "clinton", *arranged)
    assert first["name"] == "monuments/castle_clinton.jpg" and "name" in first["found_by"]


def test_less_of_one_of_the_first_results_leaves_the_others(demo: CommandLine):
    for first in search(demo, "--text", "windmill", "--limit", "5"):
        left = search(demo, "--text", "windmill", "--unlike", f"{first['bucket']}/{first['name']}")
        assert len(left) == 10
        assert first["id"] not in {result["id"] for result in left}


def test_a_quiet_line_stands_above_the_unrelated(demo: CommandLine):
    printed = demo.run("query", "--text", "windmill", "--limit", "100").stdout.splitlines()
    [line] = [place for place, text in enumerate(printed) if text.strip() == "less similar"]
    assert "unrelated" in printed[line + 1]
    assert "unrelated" not in printed[line - 1] or " name " in printed[line - 1]
