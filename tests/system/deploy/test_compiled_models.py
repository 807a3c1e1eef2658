"""The models that a container's build compiled are used where nothing can be written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from shared.embedding.engines.openvino_compilation import compiled_graph
from shared.embedding.engines.openvino_runtime import ov

CONFIG = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    opset = ov.opset13
    pixels = opset.parameter([1, 64], np.float32)
    weights = opset.constant(np.eye(64, dtype=np.float32))
    path = tmp_path / "image.xml"
    ov.save_model(ov.Model([opset.matmul(pixels, weights, False, False)], [pixels], "tiny"), path)
    return path


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch):
    """The tests may run as root, who can write anywhere."""
    return lambda: monkeypatch.setattr(os, "access", lambda *_: False)


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_what_the_build_compiled_is_loaded_from_a_folder_that_cannot_be_written(graph, read_only):
    compiled_graph(graph, CONFIG)
    before = contents(graph.parent)
    read_only()
    loaded = compiled_graph(graph, CONFIG)
    assert loaded.get_property("LOADED_FROM_CACHE")
    assert contents(graph.parent) == before


def test_a_changed_cache_in_a_folder_that_cannot_be_written_is_not_used(graph, read_only):
    compiled_graph(graph, CONFIG)
    (blob,) = (graph.parent / "compiled").glob("*.blob")
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    read_only()
    assert not compiled_graph(graph, CONFIG).get_property("LOADED_FROM_CACHE")


def test_a_folder_that_cannot_be_written_needs_no_cache(graph, read_only):
    read_only()
    assert not compiled_graph(graph, CONFIG).get_property("LOADED_FROM_CACHE")
    assert contents(graph.parent) == {"image.xml", "image.bin"}


def test_another_user_can_read_what_was_compiled(graph):
    compiled_graph(graph, CONFIG)
    files = [path for path in (graph.parent / "compiled").glob("*") if not path.name.startswith(".")]
    assert len(files) == 2 and all(path.stat().st_mode & 0o004 for path in files)
