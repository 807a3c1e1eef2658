"""How the measured levels of confidence judge copies and pairs of different images.

`python -m evaluation.levels` tries the models of `LEVELS` on the public drawings, on the sample photographs
and on 3,000 generated pictures that all look alike, and writes evaluation/published/levels.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from evaluation import seeds
from evaluation.collection import Collection, Item
from evaluation.duplicate_measures import GROUP, cropped
from evaluation.edits import png, saved
from evaluation.machine import machine
from evaluation.methods import choice
from evaluation.methods.embedding import Embedding
from evaluation.records import rounded
from evaluation.sources import emoji, folder, samples
from shared import settings
from shared.images import Decode
from shared.images.sandbox import pool
from shared.settings import CHECKOUT

PUBLISHED = CHECKOUT / "evaluation" / "published" / "levels.json"
# Of each kind of query: related, strong, same; as in neural_search.calibrations.
LEVELS: dict[str, dict[str, tuple[float, float, float | None]]] = {
    "efficientnet-lite0": {
        "image": (0.44, 0.57, 0.975),
        "text": (0.18, 0.29, None),
        "mixed": (0.32, 0.47, None),
    },
    "efficientnet-lite0-concepts": {
        "image": (0.345, 0.53, 0.975),
        "text": (0.184, 0.287, None),
        "mixed": (0.3, 0.47, None),
    },
}
LIKES = (1, 2, 3, 5)  # of one category, in a query
QUERIES = 1500  # with so many likes
COPIED = 100  # images of each collection, drawn by the seed
LOOK_ALIKES = 3000
KEPT_SIDE = 0.75  # of each side, by the crop

Vectors = NDArray[np.float32]  # (n, dimensions), of unit length
Copies = dict[str, tuple[NDArray[np.intp], Vectors]]  # of which rows, by the kind of copy


def halved(picture: Image.Image) -> bytes:
    """Half the width and half the height."""
    width, height = (max(1, side // 2) for side in picture.size)
    return png(picture.resize((width, height), Image.Resampling.LANCZOS))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "crop to 75%": lambda picture: cropped(picture, KEPT_SIDE**2),
    "JPEG, quality 20": lambda picture: saved(picture, "JPEG", quality=20),
    "half the size": halved,
}


def look_alike(number: int) -> bytes:
    """A disc on a plain ground, each a little elsewhere and of a slightly different tone."""
    random = seeds.generator(0, "look-alike", str(number))
    tones = np.array([[200, 190, 170], [150, 60, 50]]) + random.integers(-12, 13, size=(2, 3))
    picture = Image.new("RGB", (224, 224), tuple(tones[0].tolist()))
    left, top, side = (int(random.integers(low, low + 25)) for low in (50, 50, 90))
    ImageDraw.Draw(picture).ellipse((left, top, left + side, top + side), fill=tuple(tones[1].tolist()))
    return png(picture)


def look_alikes(count: int = LOOK_ALIKES) -> Collection:
    """Generated pictures that all but resemble each other."""
    items = tuple(
        Item(key=f"{number}.png", read=partial(look_alike, number), label=None) for number in range(count)
    )
    return Collection(name="look-alikes", items=items)


def embedded(files: Sequence[bytes], method: Embedding, decode: Decode) -> Vectors:
    """The vectors of these files."""
    groups = [files[start : start + GROUP] for start in range(0, len(files), GROUP)]
    return np.concatenate(
        [
            method.embedder.embed_images([decode(file, min_side=method.side).picture for file in group])
            for group in groups
        ]
    )


def blank(method: Embedding, decode: Decode) -> list[int]:
    """The mean of pictures of one colour each, in hundredths of its greatest number: neural_search.blanks.

    Of 27 colours and three proportions, because a model lays other shapes than squares on a ground.
    """
    pictures = product(((224, 224), (400, 300), (300, 400)), product((0, 128, 255), repeat=3))
    files = [png(Image.new("RGB", size, tone)) for size, tone in pictures]
    mean = embedded(files, method, decode).mean(axis=0)
    return [round(99 * float(value)) for value in mean / np.abs(mean).max()]


def judged(images: Vectors, copies: Copies, crowd: Vectors, levels: Sequence[float | None]) -> dict[str, Any]:
    """By these levels: the share of copies that are strong to their originals, and of random pairs that are
    related, among the images and a crowd; and how many copies find their original first there."""
    related, strong, _ = levels
    everything = np.concatenate([images, crowd])
    similarities = images @ everything.T
    np.fill_diagonal(similarities, np.nan)
    pairs = similarities[~np.isnan(similarities)]
    found: dict[str, Any] = {"random pairs related": float((pairs >= related).mean()), "copies": {}}
    for name, (rows, vectors) in copies.items():
        among = vectors @ everything.T
        own = among[np.arange(len(rows)), rows]
        found["copies"][name] = {
            "strong": float((own >= strong).mean()),
            "first": float((among.argmax(axis=1) == rows).mean()),
        }
    return found


def several(images: Vectors, labels: NDArray[np.str_], related: float) -> dict[str, dict[str, float]]:
    """By the number of likes, all of one category: the share of other images that are related, of another
    category and of the same, by the likes' middle and by the nearest of them."""
    random = seeds.generator(0, "several")
    return {str(number): _likes(images, labels, related, number, random) for number in LIKES}


def _likes(
    images: Vectors, labels: NDArray[np.str_], related: float, number: int, random: np.random.Generator
) -> dict[str, float]:
    shares: dict[str, list[float]] = {}
    for place in random.integers(len(images), size=QUERIES):
        own, others = np.flatnonzero(labels == labels[place]), np.flatnonzero(labels != labels[place])
        if len(own) <= number:
            continue
        likes, rest = np.split(random.permutation(own), [number])
        middle = images[likes].mean(axis=0)
        middle /= np.linalg.norm(middle)
        for name, rows in (("others", random.choice(others, 20)), ("own", rest[:20])):
            by_middle, by_nearest = images[rows] @ middle, (images[rows] @ images[likes].T).max(axis=1)
            shares.setdefault(f"{name}, middle", []).append(float((by_middle >= related).mean()))
            shares.setdefault(f"{name}, nearest", []).append(float((by_nearest >= related).mean()))
    return {name: float(np.mean(values)) for name, values in shares.items()}


def measure(collection: Collection, crowd: Vectors, method: Embedding, decode: Decode) -> dict[str, Any]:
    """The collection alone, and with the crowd in its bucket."""
    levels = LEVELS[method.name]["image"]
    images = embedded([item.read() for item in collection.items], method, decode)
    rows = np.array(seeds.sample(len(collection.items), COPIED, 0, "levels"))
    pictures = [decode(collection.items[row].read(), min_side=None).picture for row in rows]
    copies = {
        name: (rows, embedded([make(picture) for picture in pictures], method, decode))
        for name, make in COPIES.items()
    }
    labels = np.array([str(item.label) for item in collection.items])
    return {
        "images": len(images),
        "alone": judged(images, copies, crowd[:0], levels),
        "with look-alikes": judged(images, copies, crowd, levels),
        "likes": several(images, labels, levels[0]),
    }


def main() -> None:
    """Measures and writes the published figures; prints the row of neural_search.blanks."""
    report: dict[str, Any] = {"look-alikes": LOOK_ALIKES, "machine": machine(), "models": {}}
    decode = pool.start(settings.load()).decode
    for name in LEVELS:
        configuration = replace(settings.load(), embedding_models=(name,))
        (method,) = choice.load([name], configuration=configuration)
        assert isinstance(method, Embedding)
        collections = {
            "drawings": emoji.captioned(configuration.embedding_cache / "npm"),
            "photographs": folder.collection(samples.IMAGES),
        }
        crowd = embedded([item.read() for item in look_alikes().items], method, decode)
        report["models"][name] = {
            part: measure(collection, crowd, method, decode) for part, collection in collections.items()
        }
        print(name, blank(method, decode))
    PUBLISHED.write_text(json.dumps(rounded(report), indent=1) + "\n")


if __name__ == "__main__":
    main()
