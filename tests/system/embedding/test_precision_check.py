"""The precision that serves is compared with float32 once per machine and model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared import embedding
from shared.embedding import artifacts, openvino_precision, precision_check
from shared.embedding.artifacts import Artifact
from shared.embedding.engines.openvino_engine import OpenVinoEngine
from shared.settings import Settings


@pytest.fixture
def artifact(converted: Settings, tmp_path: Path) -> Artifact:
    """The default model, never compared on this machine."""
    found = artifacts.find("efficientnet-lite0-concepts", converted.embedding_cache)
    assert found
    copytree(found.folder, tmp_path / "model", ignore=lambda *_: {openvino_precision.FOLDER, "compiled"})
    return Artifact(folder=tmp_path / "model", record=found.record)


class Broken:
    """An engine whose products are wrong in one precision, as on the processor of OpenVINO's issue."""

    def __init__(self, artifact: Artifact, precision: str, made: list[str], side: str, damage: Any):
        made.append(precision)
        self._engine = OpenVinoEngine(artifact, "f32")
        self._damage = {side: damage} if precision == "bf16" else {}

    def images(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return self._damage.get("images", lambda vectors: vectors)(self._engine.images(inputs))

    def texts(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return self._damage.get("texts", lambda vectors: vectors)(self._engine.texts(inputs))


def one_turned(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([np.roll(vectors[:1], 1, axis=1), vectors[1:]])


def unknown(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors * np.float32(np.nan)


def all_moved(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each by 0.02 in cosine: none is below the least, but their mean is."""
    away = np.roll(vectors, 1, axis=1)
    away -= np.einsum("nd,nd->n", away, vectors)[:, None] * vectors
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    return 0.98 * vectors + np.sqrt(1 - 0.98**2) * away


@pytest.mark.parametrize("side", ["images", "texts"])
@pytest.mark.parametrize("damage", [one_turned, unknown])
def test_an_engine_with_wrong_products_is_not_served_and_the_log_says_so(
    side: str, damage: Any, artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(artifact: Artifact, precision: str) -> Any:
        return Broken(artifact, precision, [], side, damage)

    tokenizer = artifacts.tokenizer(artifact)
    assert openvino_precision.trusted(artifact, "bf16", tokenizer, make) == "f32"
    said = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert said["severity"] == "WARNING" and "bf16 gives wrong vectors on this processor" in said["event"]


def test_many_small_errors_are_refused_as_well(artifact: Artifact) -> None:
    made: list[str] = []
    engines = [Broken(artifact, "bf16", made, "images", all_moved), OpenVinoEngine(artifact, "f32")]
    verdict = precision_check.compare(*engines, artifact.record, None)
    assert verdict.least > precision_check.LEAST and not verdict.good


def test_the_answer_is_kept_for_the_next_start(artifact: Artifact) -> None:
    made: list[str] = []

    def make(artifact: Artifact, precision: str) -> Any:
        return Broken(artifact, precision, made, "images", one_turned)

    answers = [openvino_precision.trusted(artifact, "bf16", None, make) for _ in range(2)]
    assert answers == ["f32", "f32"] and made == ["bf16", "f32"]
    assert not artifacts.altered(artifact.folder), "the conversion itself stays what it was"


def test_what_serves_here_was_compared(converted: Settings, served: embedding.Embedder) -> None:
    found = artifacts.find(served.name, converted.embedding_cache)
    assert found
    kept = list((found.folder / openvino_precision.FOLDER).glob("*.json"))
    assert len(kept) == (served.engine.precision != "f32")
    assert all(precision_check.Verdict(**json.loads(path.read_text())).good for path in kept)


@pytest.fixture
def unwritable(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> Iterator[Artifact]:
    # Not by its mode: the tests may run as root, who writes everywhere.
    monkeypatch.setattr(openvino_precision.os, "access", lambda path, mode: Path(path) != artifact.folder)
    yield artifact
    assert not (artifact.folder / openvino_precision.FOLDER).exists()


def test_where_the_answer_cant_be_kept_it_is_compared_at_each_start(
    unwritable: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_precision, "SECONDS", 60)  # however busy the machine is

    def make(artifact: Artifact, precision: str) -> Any:
        return Broken(artifact, precision, [], "images", unknown)

    assert openvino_precision.trusted(unwritable, "bf16", None, make) == "f32"


def test_it_never_delays_such_a_start_for_long(
    unwritable: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    go_on = threading.Event()

    def make(artifact: Artifact, precision: str) -> Any:
        go_on.wait()
        raise RuntimeError("too late")

    monkeypatch.setattr(openvino_precision, "SECONDS", 0.01)
    assert openvino_precision.trusted(unwritable, "bf16", None, make) == "bf16"
    go_on.set()
    assert "wasn't compared with float32" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torch_in_bfloat16_passes_and_a_broken_gpu_would_not(tmp_path: Path) -> None:
    from support import tiny_checkpoints
    from tokenizers import Tokenizer

    from shared.embedding.conversion.opening import open_source
    from shared.embedding.engines.torch_engine import TorchEngine

    tiny_checkpoints.clip(tmp_path)
    source = open_source(str(tmp_path))
    tokenizer = Tokenizer.from_str(str(source.tokenizer))
    served, exact = (TorchEngine(source, "cpu", precision) for precision in ("bf16", "f32"))
    verdict = precision_check.compare(served, exact, source.record, tokenizer)
    assert verdict.good and verdict.least < 0.9999999, "else both computed in float32"
    served.texts = lambda inputs: unknown(exact.texts(inputs))  # type: ignore[method-assign]
    assert not precision_check.compare(served, exact, source.record, tokenizer).good
