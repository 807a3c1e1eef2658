"""How a model is converted, kept, loaded and served, and the errors when something is wrong with it."""

from __future__ import annotations

import json
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from support import interpreter
from support.sample_photographs import SAMPLES
from support.waiting import PATIENCE

from shared import embedding
from shared.embedding import Embedder, artifacts, loading, registry
from shared.errors import ModelBroken, SettingsError, UnknownModel
from shared.settings import Settings

NAME = "efficientnet-lite0-concepts"


def test_importing_the_package_loads_no_runtime_and_starts_no_thread(
    child_environment: dict[str, str],
) -> None:
    code = (
        "import os, sys, numpy\n"  # numpy's own threads are made to survive a fork
        "before = len(os.listdir('/proc/self/task'))\n"
        "import shared.embedding\n"
        "runtimes = {'openvino', 'torch', 'transformers'} & set(sys.modules)\n"
        "print(sorted(runtimes), len(os.listdir('/proc/self/task')) - before)"
    )
    assert interpreter.output(code, child_environment).split() == ["[]", "0"]


def test_serving_on_the_cpu_needs_neither_torch_nor_transformers(child_environment: dict[str, str]) -> None:
    picture = SAMPLES / "animals" / "cat.jpg"
    code = (
        "import sys, pathlib\n"
        "from shared.embedding import load\n"
        "embedder = load()\n"
        f"embedder.embed_images([pathlib.Path({str(picture)!r}).read_bytes()])\n"
        "embedder.embed_texts(['a castle'])\n"
        "print(sorted({'torch', 'transformers', 'nncf', 'scipy', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert interpreter.output(code, child_environment).strip() == "[]"


def test_the_runtime_can_not_report_its_use(served: Embedder) -> None:
    from openvino.tools.ovc import telemetry_utils

    assert sys.modules["openvino_telemetry"] is None  # type: ignore[comparison-overlap]
    assert telemetry_utils.tm.__name__.endswith("telemetry_stub")


def test_what_is_converted_already_is_not_converted_again(converted: Settings) -> None:
    assert embedding.prepare(configuration=converted) is False


def test_the_record_tells_how_images_and_texts_are_prepared(converted: Settings) -> None:
    artifact = artifacts.find(NAME, converted.embedding_cache)
    assert artifact
    record = json.loads((artifact.folder / "record.json").read_text())
    assert record["dimensions"] == 1408
    assert record["image"]["size"] == [224, 224] and record["image"]["resize"] == "pad"
    assert record["text"] == {"max_length": 256, "padding": "longest", "attention_mask": True}


def test_threads_share_a_model(served: Embedder, some_files: list[bytes]) -> None:
    expected = served.embed_images(some_files), served.embed_texts(["a castle"])
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda _: served.embed_images(some_files), range(8)))
        texts = list(pool.map(lambda _: served.embed_texts(["a castle"]), range(8)))
    assert all((found == expected[0]).all() for found in images)
    assert all((found == expected[1]).all() for found in texts)


def test_a_result_is_not_overwritten_by_the_next(served: Embedder, some_files: list[bytes]) -> None:
    first = served.embed_images(some_files[:1])
    kept = first.copy()
    served.embed_images(some_files[1:2])
    assert (first == kept).all()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small ViT with random weights."""
    from support import tiny_checkpoints

    tiny_checkpoints.vit(tmp_path / "vit")
    return tmp_path / "vit"


@pytest.fixture
def copied(converted: Settings, tmp_path: Path) -> Settings:
    """Settings with a cache of their own, to be damaged."""
    copytree(converted.embedding_cache, tmp_path / "cache")
    return replace(converted, embedding_cache=tmp_path / "cache")


def folder_of(configuration: Settings) -> Path:
    artifact = artifacts.find(NAME, configuration.embedding_cache)
    assert artifact
    return artifact.folder


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["image.bin", "image.xml", "text.bin", "tokenizer.json", "record.json"])
def test_a_changed_file_is_not_trusted(name: str, copied: Settings) -> None:
    flip_a_byte(folder_of(copied) / name)
    assert artifacts.find(NAME, copied.embedding_cache) is None


@pytest.mark.parametrize("name", ["image.bin", "text.xml", "tokenizer.json", "record.json", "digests.json"])
def test_a_missing_or_half_written_file_is_not_trusted(name: str, copied: Settings) -> None:
    path = folder_of(copied) / name
    path.write_bytes(path.read_bytes()[:100])
    assert artifacts.find(NAME, copied.embedding_cache) is None
    path.unlink()
    assert artifacts.find(NAME, copied.embedding_cache) is None


def test_a_corrupt_conversion_is_made_anew(
    configuration: Settings, some_files: list[bytes], checkpoint: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    fingerprint = registry.fingerprint(str(checkpoint))
    assert fingerprint
    folder = cache / registry.slug(str(checkpoint)) / fingerprint
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("half writ")
    (folder.with_name(".new-killed")).mkdir()
    embedder = embedding.load(str(checkpoint), configuration=replace(configuration, embedding_cache=cache))
    assert embedder.embed_images(some_files).shape == (6, 32)
    assert {path.name for path in folder.parent.iterdir()} == {".lock", fingerprint}, "no leftovers"


@pytest.mark.parametrize("damage", ["flip", "cut", "junk"])
def test_a_corrupt_compiled_model_is_not_trusted(
    damage: str, copied: Settings, exact: Embedder, some_files: list[bytes]
) -> None:
    embedding.load(configuration=copied, precision="f32").embed_images(some_files)
    compiled = folder_of(copied) / "compiled"
    blobs = list(compiled.glob("*.blob"))
    for blob in blobs:
        if damage == "flip":
            flip_a_byte(blob)
        else:
            blob.chmod(0o644)
            blob.write_bytes(b"junk" if damage == "junk" else blob.read_bytes()[:1000])
    embedder = embedding.load(configuration=copied, precision="f32")
    assert (embedder.embed_images(some_files) == exact.embed_images(some_files)).all()
    assert blobs and not artifacts.altered(compiled)


def test_without_the_original_the_newest_conversion_is_served(
    converted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = replace(registry.PACKAGED[NAME], packages=("no-such-distribution",))
    monkeypatch.setitem(registry.PACKAGED, NAME, gone)
    assert embedding.load(configuration=converted).dimensions == 1408


def test_another_version_of_the_original_is_converted_anew(
    converted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "CONVERSION", registry.CONVERSION + 1)
    assert artifacts.find(NAME, converted.embedding_cache) is None


def test_a_name_that_is_not_converted_lists_those_that_are(child_environment: dict[str, str]) -> None:
    code = (
        "import sys; sys.modules['torch'] = None  # as in a container for the CPU\n"
        "from shared.embedding import load\n"
        "from shared.errors import UnknownModel\n"
        "try: load('openai/clip-vit-base-patch32')\n"
        "except UnknownModel as error: print(error)"
    )
    assert re.search(rf"\(there: .*{NAME}.*\)", interpreter.output(code, child_environment))


def test_torch_that_is_wanted_but_not_installed_is_named(child_environment: dict[str, str]) -> None:
    code = (
        "import sys; sys.modules['torch'] = None  # as in a container for the CPU\n"
        "from shared.embedding import load\n"
        "from shared.errors import SettingsError\n"
        "try: load()\n"
        "except SettingsError as error: print(error)"
    )
    environment = child_environment | {"EMBEDDING_ENGINE": "torch", "EMBEDDING_DEVICE": "auto"}
    assert "Install neural-search[torch]" in interpreter.output(code, environment)


def test_an_unknown_name_lists_the_known_ones(configuration: Settings) -> None:
    with pytest.raises(UnknownModel, match=rf"lite9'. Known names: {NAME}.*clip.*siglip.*dinov2"):
        embedding.load("efficientnet-lite9", configuration=configuration)


def test_an_error_of_the_converting_process_arrives_here(configuration: Settings, checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelBroken, match="weights of"):
        embedding.load(str(checkpoint), configuration=configuration)
    assert artifacts.find(str(checkpoint), configuration.embedding_cache) is None


def test_a_checkpoint_that_goes_away_during_its_conversion_takes_no_former_one_with_it(
    tmp_path: Path,
) -> None:
    name, cache = str(tmp_path / "gone"), tmp_path / "cache"
    former = cache / registry.slug(name) / "former"
    former.mkdir(parents=True)
    with pytest.raises(ModelBroken, match="went away"), artifacts.written(name, cache):
        pass
    assert former.exists()


def test_a_changed_checkpoint_is_another_one(checkpoint: Path) -> None:
    before = registry.fingerprint(str(checkpoint))
    (checkpoint / "config.json").write_text((checkpoint / "config.json").read_text() + " ")
    assert before and registry.fingerprint(str(checkpoint)) != before


def test_models_have_folders_of_their_own() -> None:
    names = [NAME, "org/model", "org--model", "org/model ", "/tmp/org/model", "../org/model", "ORG/model"]
    slugs = [registry.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all("/" not in slug and not slug.startswith(".") for slug in slugs)


def test_one_process_at_a_time_converts(tmp_path: Path) -> None:
    inside, left = threading.Event(), []
    with artifacts.locked(tmp_path / "model"):
        waiting = threading.Thread(target=lambda: enter(tmp_path / "model", inside, left))
        waiting.start()
        assert not inside.wait(0.2)
        left.append("first")
    waiting.join(PATIENCE)
    assert left == ["first", "second"]


def enter(folder: Path, inside: threading.Event, left: list[str]) -> None:
    with artifacts.locked(folder):
        inside.set()
        left.append("second")


def test_a_cache_that_can_not_be_written_is_named(configuration: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = replace(configuration, embedding_cache=tmp_path / "file" / "cache")
    with pytest.raises(SettingsError, match="EMBEDDING_CACHE"):
        embedding.load(configuration=blocked)


@pytest.mark.parametrize(
    ("engine", "device", "expected"),
    [
        ("openvino", "auto", "openvino"),
        ("auto", "cpu", "openvino"),
        ("auto", "cuda", "torch"),
        ("torch", "cpu", "torch"),
    ],
)
def test_the_settings_choose_the_engine(
    engine: str, device: str, expected: str, configuration: Settings
) -> None:
    wanted = replace(configuration, embedding_engine=engine, embedding_device=device)
    assert loading.engine_name(wanted) == expected
    assert expected == "openvino" or embedding.prepare(configuration=wanted) is False


def test_openvino_on_a_gpu_is_refused(configuration: Settings) -> None:
    with pytest.raises(SettingsError, match="EMBEDDING_ENGINE=openvino runs on the CPU"):
        embedding.load(configuration=replace(configuration, embedding_device="cuda"))


def test_a_gpu_that_is_not_there_is_named(configuration: Settings) -> None:
    import torch

    wanted = replace(configuration, embedding_engine="torch", embedding_device="cuda")
    if torch.cuda.is_available():
        embedder = embedding.load(configuration=wanted)
        assert embedder.engine.device == "cuda"
        assert np.isfinite(embedder.embed_texts(["a castle"])).all()
        return
    with pytest.raises(SettingsError, match="torch finds no GPU"):
        embedding.load(configuration=wanted)
