"""The models to choose from: the docs and the command show the same, and each row says how it is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from shared.embedding import catalogue, registry, suggestions
from shared.embedding.suggestions import COLUMNS, SUGGESTIONS, Known, Purpose
from shared.settings import CHECKOUT

DOCS = (CHECKOUT / "docs" / "models.md").read_text()


def table(purpose: Purpose) -> str:
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(one.row for one in suggestions.of(purpose))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


@pytest.mark.parametrize("purpose", Purpose)
def test_the_docs_have_a_table_for_each_purpose(purpose: Purpose) -> None:
    assert f"### {purpose}\n\n{table(purpose)}\n" in DOCS


def test_the_command_shows_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_CACHE", str(tmp_path))
    monkeypatch.setenv("LOCAL_DATA", str(tmp_path))
    printed = CliRunner().invoke(app, ["models", "list", "--no-speed", "--suggested"]).stdout
    for one in SUGGESTIONS:
        assert all(cell in printed for cell in one.row)


def test_only_packaged_models_are_said_to_have_been_loaded() -> None:
    assert {one.name for one in SUGGESTIONS if one.known == Known.loaded} == set(registry.PACKAGED)


def test_a_licence_that_forbids_commercial_use_is_warned_of() -> None:
    warned = {one.name for one in SUGGESTIONS if "no commercial use" in one.terms}
    assert warned == {"MobileCLIP2-S0", "nllb-clip-large"}


def test_a_suggested_models_licence_is_known_before_its_card_is_here(tmp_path: Path) -> None:
    assert catalogue.look_up("google/siglip2-base-patch16-224", tmp_path).licence == "Apache-2.0"
