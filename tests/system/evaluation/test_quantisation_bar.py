"""How much of float32's results an image side in 8 bits must keep; one that doesn't is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support import conversion

from cli.models import quantise
from evaluation import quantisation_trial
from evaluation.collection import Collection, Item
from evaluation.quantisation_trial import Pictures, Trial
from evaluation.sources import emoji, samples
from shared import embedding, settings
from shared.embedding import artifacts
from shared.settings import Settings

pytestmark = pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)
EXACT = Trial(
    name="float32",
    graph=Path("image.xml"),
    quantised=False,
    cosine=1.0,
    least_cosine=1.0,
    recall=0.7,
    one=0.5,
    batch=0.5,
)


@pytest.mark.parametrize(
    ("cosine", "recall", "refusal"),
    [
        (0.99, 0.694, None),
        (0.9899, 0.71, "mean cosine 0.9899, at least 0.99 is expected"),
        (0.999, 0.693, "recall@10 0.6930, more than 0.6930 is expected"),
        (0.999, 0.0, "recall@10 0.0000, more than 0.6930 is expected"),
        (float("nan"), 0.7, "mean cosine nan, at least 0.99 is expected"),
        (0.999, float("nan"), "recall@10 nan, more than 0.6930 is expected"),
    ],
)
def test_it_must_keep_the_mean_cosine_and_lose_less_than_a_hundredth_of_recall(
    cosine: float, recall: float, refusal: str | None
) -> None:
    trial = replace(EXACT, quantised=True, cosine=cosine, recall=recall)
    assert trial.refusal(EXACT) == refusal


def test_recall_is_how_often_a_drawing_finds_the_other_vendors() -> None:
    # Twelve pairs on a line: the drawing of the first vendor at n, the other's at n, but the pair 0's at 100.
    places = [*range(12), 100, *range(1, 12)]
    angles = np.array(places) * 0.01
    shown = Pictures(
        calibration=[],
        photographs=[],
        drawings=[],
        groups=np.array([*range(12), *range(12)]),
        vendors=np.repeat(["one", "other"], 12),
        queries=np.repeat([True, False], 12),
    )
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert quantisation_trial.recall(vectors, shown) == 11 / 12


def drawing(shape: int, vendor: str) -> bytes:
    picture = Image.new("RGB", (64, 64), "white")
    colour = (20 * shape % 256, 90 * shape % 256, 200 - 15 * shape)
    corner = 4 + 3 * (shape % 8) + (vendor == "google")
    ImageDraw.Draw(picture).ellipse((corner, 4, 60, 20 + 3 * shape), fill=colour)
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def public_set() -> Collection:
    """Twelve pairs of each half, in place of the real set's 849."""
    codes: list[str] = []
    for split in emoji.SPLITS:
        of_split = (f"{code:x}" for code in itertools.count(0x1F300) if emoji.split_of(f"{code:x}") == split)
        codes += itertools.islice(of_split, 12)
    items = [
        Item(key=f"{vendor}/{code}", read=_reader(shape, vendor), group=code, rendition=vendor)
        for vendor in ("fluent", "google")
        for shape, code in enumerate(codes)
    ]
    return Collection(name="pairs", items=tuple(items))


def _reader(shape: int, vendor: str) -> Callable[[], bytes]:
    return lambda: drawing(shape, vendor)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A small ViT with random weights, and few pictures to measure it on."""
    from support import tiny_checkpoints

    tiny_checkpoints.vit(tmp_path / "vit")
    photographs = samples.collection().items[::10]
    few = Collection(name="photographs", items=photographs)
    monkeypatch.setattr(samples, "collection", lambda: few)
    monkeypatch.setattr(quantise, "public_set", lambda *_: public_set())
    monkeypatch.setattr(quantisation_trial, "ROUNDS", 2)  # of speeds, which nothing here asks for
    own = replace(
        settings.load({"SUPABASE_URL": "http://unused.invalid"}),
        embedding_models=(str(tmp_path / "vit"),),
        embedding_cache=tmp_path / "cache",
    )
    conversion.prepare(own)
    return own


def ways(found: dict[str, object]) -> Sequence[dict[str, object]]:
    assert isinstance(found["ways"], list)
    return found["ways"]


def test_the_first_way_that_passes_is_kept_and_served_until_none_passes_any_more(
    model: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = model.embedding_models[0]
    monkeypatch.setattr(quantisation_trial, "LEAST_COSINE", 0.5)
    monkeypatch.setattr(quantisation_trial, "MOST_RECALL_LOST", 0.5)
    found = quantise.quantise(name, model)
    assert found["kept"] == ways(found)[-1]["way"] == "8 bits, all but the end"
    assert ways(found)[0]["way"] == "float32" and ways(found)[0]["mean_cosine"] == 1.0
    served = embedding.load(configuration=replace(model, embedding_precision="int8"))
    assert served.embed_images([drawing(1, "google")]).shape == (1, 32)

    monkeypatch.setattr(quantisation_trial, "LEAST_COSINE", 1.1)
    found = quantise.quantise(name, model)
    artifact = artifacts.find(name, model.embedding_cache)
    assert found["kept"] is None
    assert [bool(way["refusal"]) for way in ways(found)][-2:] == [True, True]
    assert artifact and artifacts.quantised(artifact) is None
