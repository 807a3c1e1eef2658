"""The contract in docs/architecture.md: its invariants are tested, and its names exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_imports import ALLOWED

from shared.settings import CHECKOUT

ARCHITECTURE = (CHECKOUT / "docs/architecture.md").read_text()
DECISIONS = CHECKOUT / "docs/decisions"
PAGES = [
    CHECKOUT / "CONTRIBUTING.md",
    CHECKOUT / "docs/architecture.md",
    CHECKOUT / "docs/glossary.md",
    *sorted(DECISIONS.glob("*.md")),
]
NAMED = re.compile(r"[Ii]nvariants?[ _](\d(?:(?:, | and |_|_and_)\d)*)")
IN_PYTHON = re.compile(r"`([\w./-]+\.py)(?::([\w.]+))?`")
IN_SQL = re.compile(r"`(?:neural_search|public)\.(\w+)\(\)`")


def section(title: str) -> str:
    """The page's section `title`, up to the next heading."""
    return ARCHITECTURE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def sources(folder: str, *suffixes: str) -> Iterator[str]:
    files = (CHECKOUT / folder).rglob("*.*")
    yield from (path.read_text() for path in files if path.suffix in suffixes and path != Path(__file__))


def defined(tree: ast.AST, above: str = "") -> Iterator[str]:
    """The classes, functions, methods and constants of a module, methods as Class.method."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield f"{above}{node.name}"
            yield from defined(node, f"{above}{node.name}.")
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (f"{above}{target.id}" for target in targets if isinstance(target, ast.Name))


def test_every_invariant_has_a_test_that_names_it_and_no_other_is_named():
    stated = re.findall(r"^(\d+)\. ", section("Invariants"), re.MULTILINE)
    tested = {
        number
        for text in sources("tests", ".py")
        for found in NAMED.findall(text)
        for number in re.findall(r"\d", found)
    }
    assert stated == [str(number) for number in range(1, len(stated) + 1)]
    assert tested == set(stated)


def test_the_table_of_imports_is_the_one_that_is_checked():
    rows = re.findall(r"^\| (`[^|]+`) \|([^|]*)\|$", section("Who may import whom"), re.MULTILINE)
    words = [[re.findall(r"`([^`]+)`", cell) for cell in row] for row in rows]
    assert {room: tuple(allowed) for (room,), allowed in words} == ALLOWED


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_page_names_in_python_is_there(page: Path):
    for file, name in IN_PYTHON.findall(page.read_text()):
        assert (CHECKOUT / file).is_file(), file
        if name:
            assert name in set(defined(ast.parse((CHECKOUT / file).read_text()))), f"{file}:{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_page_names_in_sql_is_there(page: Path):
    sql = "\n".join(sources("supabase", ".sql"))
    there = set(re.findall(r"create or replace function \w+\.(\w+)", sql))
    assert there and set(IN_SQL.findall(page.read_text())) - there == set()


def test_every_decision_is_listed():
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (DECISIONS / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in DECISIONS.glob("*.md") if path.name != "README.md")


def test_the_glossary_has_each_word_once():
    rows = re.findall(r"^\| ([^|]+) \|", (CHECKOUT / "docs/glossary.md").read_text(), re.MULTILINE)
    words = [
        word
        for row in rows
        for word in row.split(", ")
        if word not in ("word", "---") and "-" not in word[:1]
    ]
    assert len(words) > 50 and len(words) == len(set(words))
