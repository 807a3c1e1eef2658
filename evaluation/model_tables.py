"""The default model's tables: the usual features, taken off an image's, and the axes of its concepts.

`python -m evaluation.model_tables` writes both anew beside the model. Its vectors depend on them: other
tables are another model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from evaluation.collection import Item
from evaluation.sources import emoji, samples
from shared import settings
from shared.embedding.conversion import efficientnet_concepts as model
from shared.images import Decode
from shared.images.sandbox import pool


def mean(kinds: Sequence[Sequence[Image.Image]]) -> np.ndarray:
    """(1280,) float32: the mean features of each kind of pictures, averaged."""
    means: np.ndarray = np.mean([model.pooled(pictures).mean(axis=0) for pictures in kinds], axis=0)
    return means.astype(np.float32)


def axes() -> np.ndarray:
    """(384, 128) float32: the principal axes of the class names' sentence vectors, orthonormal columns."""
    _, _, rows = np.linalg.svd(model.centred_names(), full_matrices=False)
    found: np.ndarray = rows[: model.AXES].T.astype(np.float32)
    return found


def main() -> None:
    """The usual features: of the sample photographs and the public set's `dev`, both kinds counting alike."""
    configuration = settings.load()
    decode = pool.start(configuration).decode
    drawings = emoji.collection(configuration.embedding_cache / "npm", "dev").items
    chosen = [item for item in drawings if emoji.split_of(item.group or "") == "dev"]
    kinds = [_pictures(items, decode) for items in (samples.collection().items, chosen)]
    np.save(model.USUAL, mean(kinds))
    np.save(model.AXES_TABLE, axes())


def _pictures(items: Sequence[Item], decode: Decode) -> list[Image.Image]:
    return [decode(item.read(), min_side=model.IMAGE.side).picture for item in items]


if __name__ == "__main__":
    main()
