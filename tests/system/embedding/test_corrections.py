"""A release that changes a family's vectors says which ones, and names the remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from cli.checks import host
from shared.embedding import artifacts, registry
from shared.errors import NeuralSearchError
from shared.settings import Settings

pytestmark = pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(scope="module")
def conversions(configuration: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a model that was converted by an earlier release, and then by another."""
    from support import tiny_checkpoints

    from shared.embedding.conversion import convert

    checkpoint, cache = tmp_path_factory.mktemp("vit"), tmp_path_factory.mktemp("cache")
    tiny_checkpoints.vit(checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        for conversion in (4, 5):
            patch.setattr(registry, "CONVERSION", conversion)
            convert.convert(str(checkpoint), cache)
    return replace(configuration, embedding_cache=cache, embedding_models=(str(checkpoint),))


@pytest.fixture
def twice_converted(conversions: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same, of which the later release is this one."""
    monkeypatch.setattr(registry, "CONVERSION", 5)
    return conversions


def changed(monkeypatch: pytest.MonkeyPatch, **how: object) -> None:
    change = registry.Change(conversion=5, **{"families": ("vit",), "images": False, "reason": "why"} | how)
    monkeypatch.setattr(registry, "CHANGES", (change,))


def test_a_corrected_text_side_leaves_the_images_alone(
    twice_converted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(monkeypatch)
    assert "text side was corrected (why), images keep their vectors" in host.vectors(twice_converted)


def test_corrected_images_are_to_be_embedded_anew(
    twice_converted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(monkeypatch, images=True)
    with pytest.raises(NeuralSearchError, match="Embed everything anew"):
        host.vectors(twice_converted)


def test_other_families_and_other_machines_are_not_troubled(
    twice_converted: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changed(monkeypatch, families=("clip",))
    assert host.vectors(twice_converted) == "made as they are now"
    changed(monkeypatch)
    other = replace(twice_converted, embedding_cache=tmp_path / "cache")
    copytree(twice_converted.embedding_cache, other.embedding_cache)
    artifact = artifacts.find(other.embedding_models[0], other.embedding_cache)
    assert artifact
    for former in artifacts.former(artifact):
        assert former.record.conversion == 4
        artifacts._discard(former.folder)
    assert host.vectors(other) == "made as they are now"


def test_a_change_is_of_a_known_family_and_of_a_conversion_that_there_was() -> None:
    for change in registry.CHANGES:
        assert set(change.families) <= {*registry.FAMILIES, *registry.PACKAGED}
        assert 4 < change.conversion <= registry.CONVERSION
