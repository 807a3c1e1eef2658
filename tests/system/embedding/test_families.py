"""Every family of checkpoints gives the vectors of transformers' own processor and model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from support import conversion
from support.sample_photographs import SAMPLES
from tokenizers import Tokenizer

from shared import embedding
from shared.embedding import Embedder, preprocessing, tokens
from shared.embedding.families import FAMILIES, Pooling
from shared.embedding.model_config import Resize
from shared.errors import ModelBroken, TextUnsupported, UnknownModel
from shared.settings import Settings

# The kinds of tiny_checkpoints, whose import takes seconds of torch and transformers.
WITH_TEXT = (
    "clip",
    "siglip",
    "siglip 2 of fixed size",
    "siglip 2 with silent files",
    "siglip2",
    "metaclip_2",
    "chinese_clip",
)
BACKBONES = ("dinov2", "dinov2_with_registers", "dinov3_vit", "vit")
KINDS = (*WITH_TEXT, *BACKBONES)
TEXTS = [
    "A Castle",
    "a castle",
    "What is this (an apple, 100%)? It's a photo!",
    "Über die Größe: naïve café, déjà vu",
    "屋顶上的太阳能电池板",
    "solar panels ☀️ on the roof 🏠",
    "a photo of a castle on the rock " * 25,
]
# Remarks of torch and transformers about tracing while a model is converted.
pytestmark = pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Wide, tall, small and large ones; more than one batch."""
    names = ["cat", "panda", "moose", "pig", "horse"]
    photographs = [Image.open(SAMPLES / "animals" / f"{name}.jpg").convert("RGB") for name in names]
    gradient = Image.radial_gradient("L").convert("RGB")
    return [
        *photographs,
        gradient.resize((30, 200)),
        gradient.resize((500, 90)),
        gradient.resize((9, 8)),
        gradient,
    ]


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    from support import transformers_reference

    return transformers_reference


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    from support import tiny_checkpoints

    written: dict[str, Path] = {}

    def write(kind: str) -> Path:
        if kind not in written:
            written[kind] = tmp_path_factory.mktemp(kind)
            tiny_checkpoints.KINDS[kind].write(written[kind])
        return written[kind]

    return write


def loaded(folder: Path, engine: str, configuration: Settings) -> Embedder:
    configuration = replace(configuration, embedding_engine=engine, embedding_models=(str(folder),))
    if engine == "openvino":
        conversion.prepare(configuration)
    return embedding.load(configuration=configuration, precision="f32")


def our_tokens(folder: Path, texts: list[str]) -> list[np.ndarray]:
    from shared.embedding.conversion import checkpoints

    source = checkpoints.open_checkpoint(str(folder))
    assert source.tokenizer and source.record.text
    return list(tokens.batch(texts, Tokenizer.from_str(source.tokenizer), source.record.text))


def test_the_registry_says_for_each_family_what_its_checkpoints_are_tested_for() -> None:
    from support import tiny_checkpoints

    from shared.embedding.conversion import checkpoints

    assert (tuple(tiny_checkpoints.KINDS), tiny_checkpoints.WITH_TEXT) == (KINDS, WITH_TEXT)
    assert {kind.model_type for kind in tiny_checkpoints.KINDS.values()} == set(FAMILIES)
    with_text = {tiny_checkpoints.KINDS[kind].model_type for kind in tiny_checkpoints.WITH_TEXT}
    assert with_text == {name for name, family in FAMILIES.items() if family.texts}
    assert set(checkpoints.TOWERS) == set(Pooling)


@pytest.mark.parametrize("kind", WITH_TEXT)
def test_texts_become_the_tokens_that_the_authors_processor_makes_of_them(
    kind: str, checkpoint: Callable[[str], Path], theirs: ModuleType
) -> None:
    folder = checkpoint(kind)
    ids, *mask = our_tokens(folder, TEXTS)
    expected = theirs.tokens(kind, folder, TEXTS)
    assert ids.tolist() == expected["input_ids"].tolist()
    assert [one.tolist() for one in mask] == [
        expected[name].tolist() for name in expected if name == "attention_mask"
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_become_the_pixels_that_the_authors_processor_makes_of_them(
    kind: str, checkpoint: Callable[[str], Path], theirs: ModuleType, pictures: list[Image.Image]
) -> None:
    from shared.embedding.conversion import checkpoints

    folder = checkpoint(kind)
    source = checkpoints.open_checkpoint(str(folder))
    how = source.record.image
    expected = theirs.pixels(folder, pictures)
    ours, *_ = preprocessing.batch(pictures, how)
    if how.resize == Resize.patches:
        ours = ours.reshape(*ours.shape[:2], -1, 3)
    mine = (ours - np.array(how.mean)) / np.array(how.std)
    if how.resize == Resize.patches:
        mask = expected["pixel_attention_mask"].numpy().astype(bool)
        off = np.abs(mine.reshape(*ours.shape[:2], -1) - expected["pixel_values"].numpy())[mask]
    else:
        off = np.abs(mine - expected["pixel_values"].permute(0, 2, 3, 1).numpy())
    levels = off * min(how.std)
    # One resizing instead of resizing and cutting, and rounding where others keep fractions.
    assert levels.max() <= 1.01 and levels.mean() <= 0.3


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("kind", KINDS)
def test_images_get_the_vectors_that_transformers_gives_them(
    kind: str,
    engine: str,
    checkpoint: Callable[[str], Path],
    theirs: ModuleType,
    configuration: Settings,
    pictures: list[Image.Image],
) -> None:
    folder = checkpoint(kind)
    ours = loaded(folder, engine, configuration).embed_images(pictures)
    assert np.einsum("nd,nd->n", ours, theirs.images(folder, pictures)).min() >= 0.9999
    assert (ours @ ours.T)[np.triu_indices(len(ours), 1)].min() < 0.995, (
        "else the comparison would say nothing"
    )


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("kind", WITH_TEXT)
def test_texts_get_the_vectors_that_transformers_gives_them(
    kind: str,
    engine: str,
    checkpoint: Callable[[str], Path],
    theirs: ModuleType,
    configuration: Settings,
) -> None:
    folder = checkpoint(kind)
    embedder = loaded(folder, engine, configuration)
    expected = theirs.texts(kind, folder, TEXTS)
    assert np.einsum("nd,nd->n", embedder.embed_texts(TEXTS), expected).min() >= 0.9999
    one_by_one = np.concatenate([embedder.embed_texts([text]) for text in TEXTS])
    assert np.einsum("nd,nd->n", one_by_one, expected).min() >= 0.9999


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_backbone_says_that_it_has_no_text_side(
    kind: str, checkpoint: Callable[[str], Path], configuration: Settings
) -> None:
    embedder = loaded(checkpoint(kind), "torch", configuration)
    assert not embedder.supports_text
    with pytest.raises(TextUnsupported, match="has no text side"):
        embedder.embed_texts(["a castle"])


def edited(folder: Path, copy: Path, file: str, **changes: object) -> Path:
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    content = json.loads((copy / file).read_text()) | changes
    (copy / file).write_text(json.dumps(content))
    return copy


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"do_resize": False}, "do_resize is False"),
        ({"do_center_crop": False}, "do_center_crop False"),
        ({"size": {"shortest_edge": 40}}, "larger than size"),
        ({"image_processor_type": "NoSuchProcessor"}, "image processor"),
        (
            {"crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 32}},
            "doesn't fit its image tower",
        ),
    ],
)
def test_an_unknown_preprocessing_is_refused_by_name(
    changes: dict[str, object],
    reason: str,
    checkpoint: Callable[[str], Path],
    configuration: Settings,
    tmp_path: Path,
) -> None:
    folder = edited(checkpoint("clip"), tmp_path / "edited", "preprocessor_config.json", **changes)
    with pytest.raises(ModelBroken, match=reason):
        loaded(folder, "torch", configuration)


def test_a_checkpoint_without_an_image_tower_is_refused_by_name(
    configuration: Settings, tmp_path: Path
) -> None:
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(tmp_path)
    with pytest.raises(ModelBroken, match="'bert', which has no image tower"):
        loaded(tmp_path, "torch", configuration)


def test_a_folder_that_is_no_checkpoint_is_refused(configuration: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelBroken, match="no configuration"):
        loaded(tmp_path, "torch", configuration)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}),
        (
            "preprocessor_config.json",
            {"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "own.Own"}},
        ),
    ],
)
def test_code_that_comes_with_a_checkpoint_is_never_run(
    file: str,
    changes: dict[str, object],
    checkpoint: Callable[[str], Path],
    configuration: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Transformers would ask, where nobody sees it, and take any `y` on standard input for the answer."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder, ran = edited(checkpoint("clip"), tmp_path / "foreign", file, **changes), tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    with contextlib.suppress(ModelBroken):  # where it can't do without
        loaded(folder, "torch", configuration)
    assert not ran.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_half_downloaded_checkpoint_says_so(
    share: float, checkpoint: Callable[[str], Path], configuration: Settings, tmp_path: Path
) -> None:
    folder = edited(checkpoint("vit"), tmp_path / "cut", "config.json")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(weights.stat().st_size * share)])
    with pytest.raises(ModelBroken, match=r"weights of .* can't be loaded"):
        loaded(folder, "torch", configuration)


def test_missing_weights_are_not_made_up(
    checkpoint: Callable[[str], Path], configuration: Settings, tmp_path: Path
) -> None:
    folder = edited(checkpoint("vit"), tmp_path / "deeper", "config.json", num_hidden_layers=3)
    with pytest.raises(ModelBroken, match=r"weights .* are incomplete: 16 are missing"):
        loaded(folder, "torch", configuration)


def test_a_tokenizer_without_a_padding_token_is_refused(
    checkpoint: Callable[[str], Path], configuration: Settings, tmp_path: Path
) -> None:
    folder = edited(checkpoint("clip"), tmp_path / "unpadded", "tokenizer_config.json", pad_token=None)
    with pytest.raises(ModelBroken, match="no padding token"):
        loaded(folder, "torch", configuration)


def test_padding_and_mask_are_those_of_the_files_where_they_say(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    said = {"padding_side": "left", "model_input_names": ["input_ids", "attention_mask"]}
    folder = edited(checkpoint("siglip 2 of fixed size"), tmp_path / "left", "tokenizer_config.json", **said)
    _, mask = our_tokens(folder, ["a castle"])
    assert (mask[0, 0], mask[0, -1]) == (0, 1)


def test_a_text_side_without_its_tokenizer_is_refused(
    checkpoint: Callable[[str], Path], configuration: Settings, tmp_path: Path
) -> None:
    folder = edited(checkpoint("clip"), tmp_path / "mute", "config.json")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelBroken, match=r"no tokenizer\.json that can be loaded"):
        loaded(folder, "torch", configuration)


def test_a_checkpoint_that_can_not_be_had_is_unknown(
    configuration: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnknownModel, match="neither in the hub's cache"):
        embedding.load("nobody/nothing", configuration=replace(configuration, embedding_engine="torch"))
