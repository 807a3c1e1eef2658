"""The CPU image holds only packages that serve: tried on those installed, in processes of their own."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support import interpreter
from support.dockerfiles import FUNCTIONS

from deploy import requirements, slim
from shared.settings import CHECKOUT

PACKAGES = Path(importlib.metadata.distribution("openvino").locate_file("")).resolve()
PROJECT = CHECKOUT / "pyproject.toml"
TORCH_SIDE = {"torch", "transformers", "sentence-transformers", "efficientnet-lite-pytorch"}

# Serves as in the image: without the packages, and the parts of packages, that it does not have. Prints every
# library and module that this loaded.
SERVE = """
import importlib.machinery, json, sys

absent = {absent}

class Installed(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        gone = any(name == one or name.startswith(one + ".") for one in absent)
        return None if gone else super().find_spec(name, path, target)

sys.meta_path = [Installed if one is importlib.machinery.PathFinder else one for one in sys.meta_path]

import numpy as np, openvino as ov
from functions_framework import create_app
from openvino import opset13 as opset

create_app("{function}", "functions/{function}/main.py").test_client().get("/live")
import shared.embedding.engines.openvino_engine

pixels = opset.parameter([1, 64], np.float32)
ov.Core().compile_model(ov.Model([opset.relu(pixels)], [pixels], "tiny"), "CPU")(np.ones((1, 64), np.float32))
maps = {{line.split()[-1] for line in open("/proc/self/maps") if line.split()[-1].startswith("/")}}
files = {{getattr(module, "__file__", None) for module in list(sys.modules.values())}}
print(json.dumps(sorted(maps | files - {{None}})))
"""


def distribution(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(lines: list[str]) -> set[str]:
    """These requirements and all of theirs, as they are installed here."""
    found: set[str] = set()
    waiting = [(Requirement(line), {""}) for line in lines]
    while waiting:
        one, wanted = waiting.pop()
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in wanted):
            continue
        key = f"{distribution(one.name)}[{','.join(sorted(one.extras))}]"
        if key not in found:
            found.add(key)
            theirs = importlib.metadata.requires(one.name) or []
            waiting += [(Requirement(line), {"", *one.extras}) for line in theirs]
    return {key.split("[")[0] for key in found}


def absent() -> list[str]:
    """The modules that the image doesn't have: other distributions', and those that slim.py removes."""
    serving = needed(requirements.requirements(PROJECT, []))
    owners = importlib.metadata.packages_distributions()
    others = [name for name, those in owners.items() if not serving & {distribution(one) for one in those}]
    ours = {"shared", "functions"}
    removed = [path.relative_to(PACKAGES) for pattern in slim.UNUSED for path in PACKAGES.glob(pattern)]
    return [
        *(name for name in others if name not in ours),
        *(".".join(path.parts) for path in removed if path.is_relative_to("openvino") and not path.suffix),
        "openvino_telemetry",
    ]


@pytest.fixture(scope="module", params=FUNCTIONS)
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> set[Path]:
    """The files that a process of this function has loaded, with an empty cache of models."""
    if sys.platform != "linux":
        pytest.skip("containers are Linux")
    environment = {
        "PATH": "/usr/bin",
        "PYTHONPATH": str(CHECKOUT),
        "EMBEDDING_CACHE": str(tmp_path_factory.mktemp("models")),
        "EMBEDDING_MODELS": "nothing-that-is-there",
    }
    code = SERVE.format(function=request.param, absent=absent())
    loaded = interpreter.output(code, environment, CHECKOUT).splitlines()[-1]
    return {Path(name).resolve() for name in json.loads(loaded)}


def test_serving_requires_neither_torch_nor_transformers():
    assert needed(requirements.requirements(PROJECT, [])) & TORCH_SIDE == set()
    assert needed(requirements.requirements(PROJECT, ["torch"])) >= TORCH_SIDE


def test_an_extra_that_is_not_there_is_refused_by_name():
    with pytest.raises(SystemExit, match="no extra gpu"):
        requirements.requirements(PROJECT, ["gpu"])


def test_a_function_serves_with_only_what_its_image_has(serving):
    assert PACKAGES / "openvino/__init__.py" in serving
    assert any("intel_cpu_plugin" in path.name for path in serving)
    removed = [path for pattern in slim.UNUSED for path in PACKAGES.glob(pattern)]
    assert [path for path in serving if any(path.is_relative_to(gone) for gone in removed)] == []
    assert [path for path in serving if {"torch", "transformers"} & set(path.parts)] == []


def test_each_thing_to_remove_is_there_to_be_removed():
    assert [pattern for pattern in slim.UNUSED if not list(PACKAGES.glob(pattern))] == []


def test_removing_spares_the_rest_and_reports_the_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(slim, "UNUSED", ("big/*.so", "big/**/tests"))
    for name in ("big/gpu.so", "big/inner/tests/one.py", "big/kept.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    assert slim.remove_unused(tmp_path) == 10
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept.py"]


def test_something_to_remove_that_moved_fails_the_build(tmp_path):
    with pytest.raises(SystemExit, match=r"has no openvino/libs/libopenvino_intel_gpu_plugin\.so"):
        slim.remove_unused(tmp_path)
