"""A folder with ONNX towers, a tokenizer and a model.json is a model, or is refused with the cause."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image
from support import exported_models
from support.hostile_images import large_and_plain
from tokenizers import Tokenizer

from cli.models import importing
from shared import embedding
from shared.embedding import artifacts, catalogue
from shared.errors import ModelBroken, SettingsError
from shared.settings import Settings

Damage = Callable[[Path], object]
TOWERS = pytest.mark.parametrize("file", ["image.onnx", "text.onnx"])


@pytest.fixture
def own(configuration: Settings, tmp_path: Path) -> Settings:
    return replace(configuration, embedding_cache=tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return exported_models.write(tmp_path / "colours")


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_text(folder: Path, **changes: Any) -> None:
    edit(folder, text=exported_models.description()["text"] | changes)


def test_it_embeds_pictures_and_texts_in_one_space(folder: Path, own: Settings) -> None:
    embedder = embedding.load(str(folder), configuration=own, precision="f32")
    images = embedder.embed_images([Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")])
    texts = embedder.embed_texts(["a Red rock", "a GREEN rock", "a blue rock"])
    assert np.allclose(np.linalg.norm(np.concatenate([images, texts]), axis=1), 1, atol=1e-5)
    assert (texts @ images.T).argmax(axis=1).tolist() == [0, 1, 2]
    assert (embedder.dimensions, embedder.record.licence) == (exported_models.DIMENSIONS, "CC0-1.0")


def test_pixels_are_normalised_as_model_json_says(folder: Path, own: Settings) -> None:
    import onnxruntime

    edit(folder, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    gradient = Image.radial_gradient("L").resize((16, 16)).convert("RGB")
    pixels = (np.asarray(gradient, np.float32) / 255 - [0.1, 0.2, 0.3]) / [0.4, 0.5, 0.6]
    session = onnxruntime.InferenceSession(str(folder / "image.onnx"))
    (theirs,) = session.run(None, {"input": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
    ours = embedding.load(str(folder), configuration=own, precision="f32").embed_images([gradient])
    assert (ours @ theirs[0] / np.linalg.norm(theirs))[0] >= 0.99999


def test_one_without_texts_is_an_image_model(folder: Path, own: Settings) -> None:
    (folder / "text.onnx").unlink()
    (folder / "tokenizer.json").unlink()
    edit(folder, text=None)
    assert not embedding.load(str(folder), configuration=own).supports_text


def test_importing_tells_what_was_compared(folder: Path, own: Settings) -> None:
    Image.new("RGB", (20, 20), "red").save(folder / "red.png")
    vectors = embedding.load(str(folder), configuration=own, precision="f32")
    image = vectors.embed_images([Image.new("RGB", (20, 20), "red")])[0].tolist()
    edit(folder, reference={"images": {"red.png": image}, "texts": {}})
    found = importing.imported(folder, own)
    assert found["has_reference"] and min(found["least_cosines"].values()) > 0.9999
    assert (found["licence"], found["tokens"]) == ("CC0-1.0", exported_models.LENGTH)
    assert catalogue.look_up(str(folder), own.embedding_cache).licence == "CC0-1.0"


def refused(folder: Path, own: Settings) -> str:
    with pytest.raises(ModelBroken) as caught:
        importing.imported(folder, own)
    assert not list(own.embedding_cache.glob("*")), "nothing half-imported stays"
    return str(caught.value)


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("large.webp", "MAX_DECODE_MEMORY"),
        ("pipe", "no regular file"),
        ("/dev/zero", "outside"),
        ("../red.png", "outside"),
        ("none.png", "No such file"),
    ],
)
def test_the_references_pictures_are_files_of_the_folder_and_decoded_in_quarantine(
    file: str, found: str, folder: Path, own: Settings
) -> None:
    (folder / "large.webp").write_bytes(large_and_plain())
    os.mkfifo(folder / "pipe")
    Image.new("RGB", (20, 20), "red").save(folder.parent / "red.png")
    edit(folder, reference={"images": {file: [1.0] * 8}, "texts": {}})
    message = refused(folder, replace(own, max_decode_memory=64 * 1024 * 1024))
    assert "expected a picture, which the reference names" in message and found in message


@pytest.mark.parametrize("file", ["image.onnx", "text.onnx", "tokenizer.json", "model.json"])
def test_a_missing_file_is_named(file: str, folder: Path, own: Settings) -> None:
    (folder / file).unlink()
    message = refused(folder, own)
    assert file in message and "expected" in message and "found" in message


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("file", ["image.onnx", "text.onnx", "tokenizer.json", "model.json"])
def test_a_cut_off_file_is_named(file: str, share: float, folder: Path, own: Settings) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: int(len(content) * share)])
    assert file in refused(folder, own)


def test_a_description_that_is_nested_too_deep_is_refused(folder: Path, own: Settings) -> None:
    (folder / "model.json").write_text("[" * 100_000)
    assert "expected JSON" in refused(folder, own)


@TOWERS
def test_towers_of_other_dimensions_than_it_says_are_refused(file: str, folder: Path, own: Settings) -> None:
    graph = exported_models.image_graph if file == "image.onnx" else exported_models.text_graph
    exported_models.save(folder / file, graph(5))
    message = refused(folder, own)
    assert file in message and "expected vectors of 8 dimensions" in message and "found [n,5]" in message


def test_a_tokenizer_without_a_padding_token_is_refused(folder: Path, own: Settings) -> None:
    edit_text(folder, pad_id=None)
    assert "expected a padding token" in refused(folder, own)
    edit_text(folder, pad_id=99)
    assert "found no token 99" in refused(folder, own)


def test_the_tokenizers_own_padding_token_is_taken(folder: Path, own: Settings) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))
    edit_text(folder, pad_id=None)
    assert importing.imported(folder, own)["tokens"] == exported_models.LENGTH


def noisy(folder: Path) -> None:
    """An image tower in which dropout was left on."""
    noise = helper.make_node("RandomNormalLike", ["made"], ["noise"], scale=0.3)
    exported_models.save(
        folder / "image.onnx",
        exported_models.image_graph(8, noise, helper.make_node("Add", ["made", "noise"], ["vectors"])),
    )


def of_the_batch(folder: Path) -> None:
    """An image tower whose vectors depend on their company, as batch norms in training do."""
    mean = helper.make_node("ReduceMean", ["made"], ["mean"], axes=[0], keepdims=1)
    exported_models.save(
        folder / "image.onnx",
        exported_models.image_graph(8, mean, helper.make_node("Sub", ["made", "mean"], ["vectors"])),
    )


def constant(folder: Path) -> None:
    """An image tower that gives the same of every picture."""
    nothing = helper.make_node("Sub", ["made", "made"], ["nothing"])
    exported_models.save(
        folder / "image.onnx",
        exported_models.image_graph(8, nothing, helper.make_node("Cos", ["nothing"], ["vectors"])),
    )


def zero(folder: Path) -> None:
    nothing = helper.make_node("Sub", ["made", "made"], ["vectors"])
    exported_models.save(folder / "image.onnx", exported_models.image_graph(8, nothing))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (noisy, "the same vectors of the same input"),
        (of_the_batch, "the same vectors alone as in a batch"),
        (constant, "unlike vectors of unlike inputs"),
        (zero, "finite numbers, not all of them 0"),
        (lambda folder: edit(folder, size=32), "expected one input of pictures"),
        (lambda folder: edit_text(folder, length=9), "expected token ids"),
        (lambda folder: edit(folder, resize="pad"), "resize: one of stretch, shortest"),
        (lambda folder: edit(folder, mean=[124, 116, 104]), "mean: three numbers of 0 to 1"),
        (lambda folder: edit(folder, std=[0, 1, 1]), "std: three numbers above 0"),
        (lambda folder: edit(folder, dimensions="8"), "dimensions: a whole number"),
        (lambda folder: edit(folder, licence=""), "licence: the weights' licence"),
        (lambda folder: edit(folder, colour="red"), "found also colour"),
        (lambda folder: edit(folder, resize="shortest", edge=8), "edge: at least size"),
        (lambda folder: edit_text(folder, padding="some"), "padding: one of longest, max_length"),
        (lambda folder: edit(folder, text=None), 'a "text" in model.json'),
        (lambda folder: edit(folder, reference={"texts": {"red": [1.0] * 8}}), "within a cosine of 0.999"),
        (
            lambda folder: edit(folder, reference={"texts": {"red": [1.0]}}),
            "reference vectors of 8 dimensions",
        ),
        (lambda folder: edit(folder, reference={"images": {"no.png": [1.0] * 8}}), "a picture"),
        (lambda folder: (folder / "model.json").write_text("[]"), "an object of dimensions"),
        (lambda folder: (folder / "model.json").write_text("{}"), "missing"),
    ],
)
def test_what_doesnt_fit_is_refused_with_what_was_expected(
    damage: Damage, expected: str, folder: Path, own: Settings
) -> None:
    damage(folder)
    assert expected in refused(folder, own)


def test_loading_a_broken_one_says_the_same(folder: Path, own: Settings) -> None:
    noisy(folder)
    with pytest.raises(ModelBroken, match="the same vectors of the same input"):
        embedding.load(str(folder), configuration=own)


def test_it_runs_on_the_cpu_and_says_so_where_another_device_is_asked_for(
    folder: Path, own: Settings
) -> None:
    with pytest.raises(SettingsError, match="OpenVINO runs on the CPU"):
        embedding.load(str(folder), configuration=replace(own, embedding_engine="torch"))


def test_a_changed_folder_is_imported_anew(folder: Path, own: Settings) -> None:
    importing.imported(folder, own)
    edit(folder, licence="MIT")
    assert artifacts.find(str(folder), own.embedding_cache) is None
    assert embedding.load(str(folder), configuration=own).record.licence == "MIT"
