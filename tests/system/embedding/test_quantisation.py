"""The image side in 8 bits: how it is made, kept, served, and replaced where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from support import conversion
from support.sample_photographs import SAMPLES

from shared import embedding, images
from shared.embedding import artifacts, preprocessing
from shared.embedding.artifacts import Artifact
from shared.embedding.engines.openvino_compilation import core
from shared.errors import SettingsError
from shared.settings import Settings

# Remarks of torch, transformers and NNCF while a model is converted.
pytestmark = pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [path.read_bytes() for path in sorted((SAMPLES / "animals").glob("*.jpg"))[:12]]


@pytest.fixture(scope="module", params=["clip", "siglip2"])
def quantised(
    request: pytest.FixtureRequest,
    files: list[bytes],
    tmp_path_factory: pytest.TempPathFactory,
    configuration: Settings,
) -> Settings:
    """Settings of a model whose image side is there in 8 bits; siglip2's has three inputs."""
    from support import tiny_checkpoints

    from shared.embedding.conversion import eight_bits

    folder = tmp_path_factory.mktemp(request.param)
    tiny_checkpoints.KINDS[request.param].write(folder)
    own = replace(configuration, embedding_models=(str(folder),), embedding_precision="int8")
    conversion.prepare(own)
    artifact = artifact_of(own)
    decoded = [
        images.decode(data, max_bytes=10**7, max_pixels=10**8, min_side=artifact.record.image.side).picture
        for data in files
    ]
    inputs = preprocessing.batch(decoded, artifact.record.image)
    graph, target = artifact.folder / artifacts.IMAGE_GRAPH, tmp_path_factory.mktemp("made") / "made.xml"
    eight_bits.quantise(graph, eight_bits.schemes(graph)[0], inputs, target)
    artifacts.add_quantised(artifact, target)
    return own


def artifact_of(configuration: Settings) -> Artifact:
    artifact = artifacts.find(configuration.embedding_models[0], configuration.embedding_cache)
    assert artifact
    return artifact


def layers(graph: Path) -> list[str]:
    return [layer.get_type_name() for layer in core().read_model(graph).get_ordered_ops()]


def test_its_products_are_computed_in_8_bits(quantised: Settings) -> None:
    graph = artifacts.quantised(artifact_of(quantised))
    assert graph and "FakeQuantize" in layers(graph)
    assert "FakeQuantize" not in layers(artifact_of(quantised).folder / artifacts.IMAGE_GRAPH)


def test_it_is_served_where_the_settings_ask_for_it(quantised: Settings, files: list[bytes]) -> None:
    served = embedding.load(configuration=quantised)
    exact = embedding.load(configuration=quantised, precision="f32")
    found, expected = served.embed_images(files), exact.embed_images(files)
    assert (served.engine.precision, exact.engine.precision) == ("int8", "f32")
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    cosines = np.einsum("nd,nd->n", found, expected)
    assert 0.9 < cosines.mean() < 0.99999  # random weights; the bar is another test's


def test_texts_are_embedded_as_without_it(quantised: Settings) -> None:
    served = embedding.load(configuration=quantised)
    usual = embedding.load(configuration=replace(quantised, embedding_precision="auto"))
    assert (served.embed_texts(["a castle"]) == usual.embed_texts(["a castle"])).all()


def test_the_conversion_it_lies_in_stays_whole(quantised: Settings) -> None:
    assert embedding.prepare(configuration=quantised) is False


def test_what_a_killed_process_left_is_swept_away(quantised: Settings, tmp_path: Path) -> None:
    copytree(quantised.embedding_cache, tmp_path / "cache")
    artifact = artifact_of(replace(quantised, embedding_cache=tmp_path / "cache"))
    leftovers = [
        artifact.folder / ".new-x",
        artifact.folder / ".old-int8-1",
        artifact.folder.parent / ".old-a-1",
    ]
    for leftover in leftovers:
        leftover.mkdir()
    artifacts.sweep(artifact.record.model, tmp_path / "cache")
    assert not any(leftover.exists() for leftover in leftovers) and artifacts.quantised(artifact)


def test_a_damaged_one_is_not_served(quantised: Settings, tmp_path: Path) -> None:
    copytree(quantised.embedding_cache, tmp_path / "cache")
    own = replace(quantised, embedding_cache=tmp_path / "cache")
    graph = artifacts.quantised(artifact_of(own))
    assert graph
    weights = graph.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(SettingsError, match="models quantise"):
        embedding.load(configuration=own)


def test_a_model_without_one_says_how_it_is_made(converted: Settings) -> None:
    own = replace(converted, embedding_precision="int8")
    for start in (embedding.prepare, embedding.load):  # as containers and `up` start, and as functions do
        with pytest.raises(SettingsError, match="neural-search models quantise efficientnet-lite0"):
            start(configuration=own)


@pytest.mark.parametrize("choice", [{"embedding_engine": "torch"}, {"embedding_device": "cuda"}])
def test_torch_is_no_engine_for_8_bits(converted: Settings, choice: dict[str, str]) -> None:
    auto = replace(converted, embedding_engine="auto", embedding_device="auto")
    own = replace(auto, embedding_precision="int8", **choice)
    with pytest.raises(SettingsError, match="EMBEDDING_PRECISION=int8 is for the openvino engine"):
        embedding.load(configuration=own)


def test_every_way_leaves_the_vectors_length_alone_and_the_last_the_spatial_filters(
    converted: Settings,
) -> None:
    from shared.embedding.conversion import eight_bits

    graph = artifact_of(converted).folder / artifacts.IMAGE_GRAPH
    ops = core().read_model(graph).get_ordered_ops()
    names = {op.get_friendly_name(): op.get_type_name() for op in ops}
    kept = [{names[layer] for layer in scheme.kept} for scheme in eight_bits.schemes(graph)]
    assert len(kept) == 3 and all({"ReduceMean", "Divide"} & kinds for kinds in kept)
    assert "Convolution" not in kept[0] and "Convolution" in kept[1]
    spatial = {name for name, kind in names.items() if kind == "GroupConvolution"}
    assert spatial and spatial <= set(eight_bits.schemes(graph)[2].kept)
