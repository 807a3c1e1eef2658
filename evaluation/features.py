"""Images to the features of every method: each is read once, and decoded once for each size wanted."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from evaluation.collection import Item
from evaluation.methods import Features, Method
from shared.errors import NeuralSearchError
from shared.images import Decode

BATCH = 64  # images at a time; the same images always meet in the same batches

Progress = Callable[[str, int, int], None]  # the step's name, how many are done, of how many


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An image that can't be evaluated."""

    key: str
    error: str  # the error's type
    message: str


@dataclass(kw_only=True)
class Extracted:
    """The features of the images that could be read and decoded, in their order."""

    items: list[Item] = field(default_factory=list)
    features: dict[str, Features] = field(default_factory=dict)  # by the method's name
    digests: dict[str, str] = field(default_factory=dict)  # by key: hexadecimal SHA-256 of the file
    failures: list[Failure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # that each method took, without decoding


@dataclass(frozen=True)
class Read:
    """One image as every method may want it."""

    digest: str
    pictures: dict[int, Image.Image]  # by the side asked for


def extract(
    items: Sequence[Item], methods: Sequence[Method], decode: Decode, progress: Progress, doing: str
) -> Extracted:
    """The features of `items`. One that can't be read or decoded is listed as a failure and left out."""
    result = Extracted(seconds={method.name: 0.0 for method in methods})
    sides = sorted({method.side for method in methods})
    parts: dict[str, list[Features]] = {method.name: [] for method in methods}
    done = 0
    for batch, outcomes in _read_ahead(items, sides, decode):
        pairs = [(item, one) for item, one in zip(batch, outcomes, strict=True) if isinstance(one, Read)]
        result.failures += [one for one in outcomes if isinstance(one, Failure)]
        result.items += [item for item, _ in pairs]
        result.digests |= {item.key: one.digest for item, one in pairs}
        for method in methods if pairs else ():
            began = time.perf_counter()
            pictures = [one.pictures[method.side] for _, one in pairs]
            parts[method.name].append(method.image_features([item for item, _ in pairs], pictures))
            result.seconds[method.name] += time.perf_counter() - began
        done += len(batch)
        progress(doing, done, len(items))
    result.features = {name: np.concatenate(rows) for name, rows in parts.items() if rows}
    return result


def _read_ahead(
    items: Sequence[Item], sides: Sequence[int], decode: Decode
) -> Iterator[tuple[Sequence[Item], list[Read | Failure]]]:
    """Batches and each image's outcome, two batches being decoded while one is worked on."""
    waiting: deque[tuple[Sequence[Item], list[Future[Read | Failure]]]] = deque()
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            waiting.append((batch, [threads.submit(_read, item, sides, decode) for item in batch]))
            if len(waiting) > 2:
                yield _finished(waiting)
        while waiting:
            yield _finished(waiting)


def _finished(
    waiting: deque[tuple[Sequence[Item], list[Future[Read | Failure]]]],
) -> tuple[Sequence[Item], list[Read | Failure]]:
    batch, futures = waiting.popleft()
    return batch, [future.result() for future in futures]


def _read(item: Item, sides: Sequence[int], decode: Decode) -> Read | Failure:
    try:
        data = item.read()
        pictures = {side: decode(data, min_side=side).picture for side in sides}
    except (NeuralSearchError, OSError) as error:
        return Failure(key=item.key, error=type(error).__name__, message=str(error))
    return Read(hashlib.sha256(data).hexdigest(), pictures)
