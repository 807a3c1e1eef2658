"""A report made from pictures drawn here, by methods that need no model."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image

from evaluation import run
from evaluation.collection import Collection, Item
from evaluation.methods import SIDE
from evaluation.methods.chance import Chance
from evaluation.methods.hashes import PerceptualHash
from evaluation.run import Report

AWKWARD = '<script>alert("1")</script> & co'


def picture(number: int) -> bytes:
    """A PNG of noise, the same for the same number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def collection(name: str = AWKWARD) -> Collection:
    """Twelve pictures of six things, two renditions of each, in two classes, one with an awkward name."""

    def item(number: int) -> Item:
        thing = number // 2
        return Item(
            key=f"{AWKWARD}.png" if number == 0 else f"{number:02}.png",
            read=lambda: picture(thing),
            label=f"<b>{'even' if thing % 2 == 0 else 'odd'}</b>",
            captions=(f"thing <i>{thing}</i>",),
            group=str(thing),
            rendition="ab"[number % 2],
        )

    return Collection(name=name, items=tuple(item(number) for number in range(12)))


@cache
def example() -> Report:
    """Evaluated once; not to be changed."""
    report = run.evaluate(collection(), [PerceptualHash("phash"), Chance(SIDE, 0)], seed=0)
    rows = (("exact", 1.0, 20.0), ("hnsw", 0.99, 2.0), ("lsh", 0.9, 4.0))
    report.data["indexes"] = [
        {
            "method": "phash",
            "strategy": strategy,
            "recall@10": recall,
            "low": recall - 0.01,
            "high": min(1.0, recall + 0.01),
            "p50_ms": latency,
            "p95_ms": 2 * latency,
            "build_seconds": 0.1,
            "bytes_per_image": 100.0,
        }
        for strategy, recall, latency in rows
    ]
    return report
