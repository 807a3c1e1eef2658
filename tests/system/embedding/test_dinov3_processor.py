"""DINOv3's pictures are those of transformers' own processor, which needs torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from support import reference_packages
from support.sample_photographs import SAMPLES

from shared.embedding import preprocessing

THEIRS = """
import numpy as np, sys
from PIL import Image
from transformers.models.dinov3_vit.image_processing_dinov3_vit import DINOv3ViTImageProcessor
pictures = [Image.open(path).convert("RGB") for path in {paths}]
np.save("pixels.npy", DINOv3ViTImageProcessor()(pictures, return_tensors="pt")["pixel_values"].numpy())
"""


def test_pixels_are_within_one_level_of_transformers_own(tmp_path: Path) -> None:
    from support import tiny_checkpoints

    from shared.embedding.conversion import checkpoints

    paths = [str(SAMPLES / f"animals/{name}.jpg") for name in ("cat", "moose", "pig")]
    reference_packages.run(THEIRS.format(paths=paths), tmp_path)
    theirs = np.load(tmp_path / "pixels.npy").transpose(0, 2, 3, 1)
    (tmp_path / "checkpoint").mkdir()
    tiny_checkpoints.dinov3_vit(tmp_path / "checkpoint")
    how = checkpoints.open_checkpoint(str(tmp_path / "checkpoint")).record.image
    (pixels,) = preprocessing.batch([Image.open(path).convert("RGB") for path in paths], how)
    levels = np.abs((pixels - np.array(how.mean)) / np.array(how.std) - theirs) * np.array(how.std)
    assert levels.max() <= 1.01 and levels.mean() <= 0.5
