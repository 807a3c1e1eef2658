"""Which measure tells copies of an image from crops, other edits and other images.

`python -m evaluation.duplicate_measures` tries embeddings and perceptual hashes on the public drawings and
the sample photographs, and writes evaluation/published/duplicates.json. neural_search.are_duplicates follows
from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation import edits, seeds
from evaluation.collection import Collection, Item
from evaluation.machine import machine
from evaluation.methods import choice
from evaluation.methods.embedding import Embedding
from evaluation.records import rounded
from evaluation.sources import emoji, folder, samples
from shared import settings
from shared.images import Decode
from shared.images.perceptual_hash import perceptual_hash
from shared.images.sandbox import pool
from shared.settings import CHECKOUT

PUBLISHED = CHECKOUT / "evaluation" / "published" / "duplicates.json"

IMAGES = 200  # of each collection, drawn by the seed
BITS = 6  # that hashes of copies may differ in, as in neural_search.are_duplicates
STRANGERS = 0.25  # the similarity that copies must have, likewise
SIMILARITY = 0.95  # an embedding's alone that few other images have
GROUP = 32  # images at a time

Make = Callable[[Image.Image, str], bytes]  # an upright picture and its key to a file


def _resized(picture: Image.Image, factor: float) -> bytes:
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    return edits.saved(picture.resize((size[0], size[1]), Image.Resampling.LANCZOS), "JPEG", quality=85)


def _edited(edit: str, picture: Image.Image, key: str) -> bytes:
    return edits.png(edits.edited(picture, edit, key, 0))


def cropped(picture: Image.Image, area: float) -> bytes:
    """This share of the area, from the middle, in the picture's own proportions."""
    left, top = (round(side * (1 - area**0.5) / 2) for side in picture.size)
    return edits.png(picture.crop((left, top, picture.width - left, picture.height - top)))


COPIES: dict[str, Make] = {
    "JPEG, quality 75": lambda picture, _: edits.saved(picture, "JPEG", quality=75),
    "JPEG, quality 20": lambda picture, _: edits.saved(picture, "JPEG", quality=20),
    "WebP, quality 80": lambda picture, _: edits.saved(picture, "WEBP", quality=80),
    "AVIF, quality 60": lambda picture, _: edits.saved(picture, "AVIF", quality=60),
    "GIF, 256 colours": lambda picture, _: edits.saved(picture.quantize(256), "GIF"),
    "twice the size": lambda picture, _: _resized(picture, 2),
    "half the size": lambda picture, _: _resized(picture, 0.5),
    "a quarter of the size": lambda picture, _: _resized(picture, 0.25),
}
OTHERS: dict[str, Make] = {
    "crop to 90%": lambda picture, _: cropped(picture, 0.9),
    "crop to 80%": lambda picture, _: cropped(picture, 0.8),
    **{edit: partial(_edited, edit) for edit in ("crop", "flip", "rotate", "overlay", "colour", "blur")},
}


def measure(collection: Collection, method: Embedding, decode: Decode) -> dict[str, Any]:
    """How many versions of an image each rule takes for copies, and how many pairs of different images."""
    rows = seeds.sample(len(collection.items), IMAGES, 0, "duplicates")
    items = [collection.items[row] for row in rows]
    originals = _looked_at([item.read() for item in items], method, decode)
    found = {
        part: {
            name: _shares(originals, _versions(items, make, method, decode)) for name, make in made.items()
        }
        for part, made in (("copies", COPIES), ("others", OTHERS))
    }
    return found | {"different images": _among(originals)}


Looks = tuple[NDArray[np.float32], NDArray[np.uint64]]  # embeddings and hashes


def _versions(items: list[Item], make: Make, method: Embedding, decode: Decode) -> Looks:
    files = [make(decode(item.read(), min_side=None).picture, item.key) for item in items]
    return _looked_at(files, method, decode)


def _looked_at(files: list[bytes], method: Embedding, decode: Decode) -> Looks:
    vectors, hashes = [], []
    for start in range(0, len(files), GROUP):
        pictures = [decode(file, min_side=method.side).picture for file in files[start : start + GROUP]]
        vectors.append(method.embedder.embed_images(pictures))
        hashes += [int(perceptual_hash(picture), 2) for picture in pictures]
    return np.concatenate(vectors), np.array(hashes, np.uint64)


def _shares(first: Looks, second: Looks) -> dict[str, float]:
    similarities = (first[0] * second[0]).sum(axis=1)
    alike = np.bitwise_count(first[1] ^ second[1]) <= BITS
    return {
        "embedding": float((similarities >= SIMILARITY).mean()),
        "hash": float(alike.mean()),
        "both": float((alike & (similarities >= STRANGERS)).mean()),
        "median similarity": float(np.median(similarities)),
    }


def _among(looks: Looks) -> dict[str, Any]:
    """How many pairs of different images there are, and how many each rule takes for copies."""
    one, other = np.triu_indices(len(looks[0]), 1)
    shares = _shares((looks[0][one], looks[1][one]), (looks[0][other], looks[1][other]))
    counts = {rule: round(shares[rule] * len(one)) for rule in ("embedding", "hash", "both")}
    return {"pairs": len(one), **counts}


def main() -> None:
    """Measures and writes the published figures."""
    configuration = settings.load()
    (method,) = choice.load([configuration.embedding_models[0]], configuration=configuration)
    assert isinstance(method, Embedding)
    decode = pool.start(configuration).decode
    collections = {
        "drawings": emoji.captioned(configuration.embedding_cache / "npm"),
        "photographs": folder.collection(samples.IMAGES),
    }
    found = {name: measure(collection, method, decode) for name, collection in collections.items()}
    report = {"model": method.name, "images": IMAGES, "machine": machine(), "collections": found}
    PUBLISHED.write_text(json.dumps(rounded(report), indent=1) + "\n")


if __name__ == "__main__":
    main()
