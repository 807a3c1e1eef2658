"""An installed package beside its modules: the data that they read, and its licence."""

from __future__ import annotations

import tomllib
from pathlib import Path

from shared.embedding import concepts, wordnet

CHECKOUT = Path(__file__).parents[3]
PACKAGES = ("shared", "local", "cli", "functions", "benchmarks", "evaluation")
ONLY_IN_A_CHECKOUT = ("functions/*/README.md", "evaluation/published/*.json")
LICENCE = concepts.TABLE.with_name("WORDNET_LICENSE.txt")


def test_every_file_that_modules_read_is_declared_as_package_data() -> None:
    declared = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = [
        f"{package.replace('.', '/')}/{glob}" for package, globs in declared.items() for glob in globs
    ]
    files = (file for package in PACKAGES for file in (CHECKOUT / package).rglob("[!.]*.*"))
    data = [file.relative_to(CHECKOUT) for file in files if file.suffix not in (".py", ".pyc")]
    assert len(data) > 10
    missing = [str(file) for file in data if not any(map(file.match, [*patterns, *ONLY_IN_A_CHECKOUT]))]
    assert missing == []


def test_wordnets_licence_stands_in_full_beside_what_comes_from_wordnet() -> None:
    text = LICENCE.read_text("utf-8")
    for part in ("Permission to use, copy, modify", 'PROVIDED "AS IS"', "LICENSEE agrees to preserve same."):
        assert part in text
    for table in (concepts.TABLE, wordnet.CLASS_NAMES):
        assert LICENCE.name in table.read_text("utf-8").partition("\nn0")[0]
    assert concepts.TABLE.read_text("utf-8").startswith(wordnet.HEADER)
