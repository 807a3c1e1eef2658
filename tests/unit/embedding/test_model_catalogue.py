"""A model's description, without loading it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.embedding import catalogue, registry
from shared.errors import UnknownModel
from shared.settings import load


def test_the_packaged_models_and_those_of_the_settings_are_known_before_any_is_converted(tmp_path: Path):
    mine = load({"EMBEDDING_MODELS": "openai/clip-vit-base-patch32", "EMBEDDING_CACHE": str(tmp_path)})
    known = catalogue.known(mine)
    assert [one.name for one in known] == [*registry.PACKAGED, "openai/clip-vit-base-patch32"]
    assert all(one.record is None and one.size is None for one in known)


def test_every_packaged_model_has_a_licence():
    assert all(model.licence for model in registry.PACKAGED.values())


@pytest.mark.parametrize(
    "name",
    [
        *("efficientnet-lite9", "eficientnet_lite0_concepts", "siglip", "google/siglip2-base-patch16-224"),
        *("facebook/dinov2-with-registers-small", "/models/our-own", "./exports/clip_v2/", "~/clip"),
    ],
)
def test_a_mistyped_name_is_told(name: str):
    assert registry.described(name) == repr(name)


@pytest.mark.parametrize(
    "secret",
    [
        *("correct-horse-battery-staple", "550e8400-e29b-41d4-a716-446655440000", "hunter2.hunter2"),
        *("9fXc0/aPq44Lw-2Ztb81Nk", "Zq3-x91Lm_70w.hTf2K8vP", "dGhpcyBpcyBhIHNlY3JldA", "pass word/a b"),
    ],
)
def test_a_text_that_may_be_a_secret_is_not_told_in_place_of_a_name(secret: str):
    assert registry.described(secret) == f"a text of {len(secret)} characters"
    with pytest.raises(UnknownModel) as refused:
        registry.check(secret.replace("/", "+"))
    assert not refused.value.problem().get("value")
    assert secret not in f"{refused.value}" and secret.replace("/", "+") not in f"{refused.value}"


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
