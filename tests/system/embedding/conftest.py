"""Models loaded once per session: converting and loading take the time here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.sample_photographs import SAMPLES, Photographs

from shared import embedding, settings
from shared.embedding import Embedder
from shared.settings import Settings

Load = Callable[..., Embedder]


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    import torch  # seconds, which every process would spend that only collects the tests

    # Several spin while they wait for each other, beside OpenVINO's that do the same.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    cache = tmp_path_factory.mktemp("embedding-cache")
    return replace(
        settings.load({"SUPABASE_URL": "http://unused.invalid"}),
        embedding_cache=cache,
        embedding_engine="openvino",
        embedding_device="cpu",
    )


@pytest.fixture(scope="session")
def converted(configuration: Settings) -> Settings:
    """Settings whose cache holds the default model, converted in a process of its own as `up` does it."""
    assert embedding.prepare(configuration=configuration)
    return configuration


@pytest.fixture(scope="session")
def served(converted: Settings) -> Embedder:
    """The default model as a function serves it on this processor."""
    return embedding.load(configuration=converted)


@pytest.fixture(scope="session")
def exact(converted: Settings) -> Embedder:
    """The default model in OpenVINO and float32."""
    return embedding.load(configuration=converted, precision="f32")


@pytest.fixture(scope="session")
def reference(converted: Settings) -> Embedder:
    """The default model in torch and float32."""
    return embedding.load(configuration=replace(converted, embedding_engine="torch"))


@pytest.fixture(scope="session")
def photographs(served: Embedder) -> Photographs:
    names = sorted(str(path.relative_to(SAMPLES)) for path in SAMPLES.glob("*/*.jpg"))
    return Photographs(served, names)


@pytest.fixture(scope="session")
def some_files() -> list[bytes]:
    """A photograph of each kind."""
    names = (
        "animals/cat",
        "energy/windmill_1",
        "fish/fish1",
        "household/cup",
        "monuments/petra",
        "tools/hammer1",
    )
    return [(SAMPLES / f"{name}.jpg").read_bytes() for name in names]


@pytest.fixture(scope="session")
def many_files(photographs: Photographs) -> list[bytes]:
    """Photographs of all kinds, and plain ones, whose vectors suffer most from rounding."""
    plain = [
        "household/blackslate.jpg",
        "household/knife.jpg",
        "monuments/burj.jpg",
        "monuments/red_pyramid.jpg",
    ]
    return [(SAMPLES / name).read_bytes() for name in [*plain, *photographs.names[::10]]]


@pytest.fixture
def child_environment(converted: Settings) -> dict[str, str]:
    """For a Python process of its own with the converted model."""
    return {**os.environ, "EMBEDDING_CACHE": str(converted.embedding_cache), "EMBEDDING_DEVICE": "cpu"}
