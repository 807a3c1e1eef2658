"""A model's description, without loading it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.embedding import catalogue, registry
from shared.settings import load


def test_the_packaged_models_and_those_of_the_settings_are_known_before_any_is_converted(tmp_path: Path):
    mine = load({"EMBEDDING_MODELS": "openai/clip-vit-base-patch32", "EMBEDDING_CACHE": str(tmp_path)})
    known = catalogue.known(mine)
    assert [one.name for one in known] == [*registry.PACKAGED, "openai/clip-vit-base-patch32"]
    assert all(one.record is None and one.size is None for one in known)


def test_every_packaged_model_has_a_licence():
    assert all(model.licence for model in registry.PACKAGED.values())


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\ntags:\n- vision\n---\n# A model\n", "apache-2.0"),
        ("---\nlicense: 'mit'\n---\n", "mit"),
        ("---\nlicense:\n- mit\n---\n", None),
        ("# A model\nlicense: mit\n", None),
        ("", None),
    ],
)
def test_a_checkpoints_licence_is_what_its_card_says(tmp_path: Path, card: str, licence: str | None):
    (tmp_path / "README.md").write_text(card)
    found = catalogue.look_up(str(tmp_path), tmp_path / "cache")
    assert (found.licence, found.size) == (licence, len(card))
