"""How well similarities tell a query that has nothing to do with a collection from one that has.

`python -m evaluation.confidence` tries them as they are and relative to a sample of the collection, with the
default model, and writes evaluation/published/confidence.json. Levels as they are: evaluation.levels.

Everything is chosen on one half of the things that the images show, and reported on the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation import confidence_trials as trials
from evaluation import features, seeds
from evaluation.collection import Collection
from evaluation.confidence_trials import KINDS, Images, Trial, Usual, Values
from evaluation.intervals import Resampling, interval
from evaluation.machine import machine
from evaluation.methods import choice
from evaluation.methods.embedding import Embedding
from evaluation.records import rounded
from evaluation.sources import emoji, folder, samples
from shared import settings
from shared.images import Decode
from shared.images.sandbox import pool
from shared.settings import CHECKOUT

PUBLISHED = CHECKOUT / "evaluation" / "published" / "confidence.json"

RETURNING = {"related": 0.05, "strong": 0.01}  # of the queries whose category is gone, how many reach a level
MISTAKEN = 0.01  # of the images that aren't there, how many are taken for one that is
CHOICE, REPORT = 0, 1  # the halves

# By how much a similarity is above its query's usual one, in units of the collection's usual ones.
STATISTICS: dict[str, tuple[Callable[[Usual], Values], Callable[[Usual], Values]]] = {
    "similarity": (lambda usual: 0 * usual.mean, lambda usual: 1 + 0 * usual.mean),
    "per pair: (s - pair mean) / pair deviation": (lambda u: u.pair_mean, lambda u: u.pair_deviation),
    "per query: (s - mean) / deviation": (lambda u: u.mean, lambda u: u.deviation),
    "per query, robust: (s - median) / quartiles' distance": (
        lambda u: u.median,
        lambda u: u.three_quarters - u.quarter,
    ),
    "(s - first quartile) / pair deviation": (lambda u: u.quarter, lambda u: u.pair_deviation),
    "(s - first quartile) / pairs' 95th percentile": (lambda u: u.quarter, lambda u: u.pair_high),
    "(s - first quartile) / (1 - first quartile)": (lambda u: u.quarter, lambda u: 1 - u.quarter),
    "(s - first quartile) / quartiles' distance": (
        lambda u: u.quarter,
        lambda u: u.three_quarters - u.quarter,
    ),
    "(s - median) / pairs' 95th percentile": (lambda u: u.median, lambda u: u.pair_high),
    "(s - median) / (1 - median)": (lambda u: u.median, lambda u: 1 - u.median),
    "s - first quartile": (lambda u: u.quarter, lambda u: 1 + 0 * u.quarter),
    "s / pairs' 95th percentile": (lambda u: 0 * u.mean, lambda u: u.pair_high),
}
ROOM = "(s - first quartile) / (1 - first quartile)"
# The units, for the statistics that start from the first quartile.
UNITS = {
    "(s - first quartile) / pairs' 95th percentile": "pair_high",
    "(s - first quartile) / pair deviation": "pair_deviation",
    ROOM: "room",
    "s - first quartile": "one",
    "(s - first quartile) / quartiles' distance": "quartile_distance",
}
# For models that weren't measured: spreads, which mean the same wherever a model's similarities lie.
GENERIC = {
    "image": "(s - first quartile) / pair deviation",
    "text": "(s - first quartile) / quartiles' distance",
    "mixed": "(s - first quartile) / quartiles' distance",
}


def score(statistic: str, similarities: Values, usual: Usual) -> Values:
    """`similarities` (n,) or (n, m) by this statistic."""
    origin, unit = (part(usual) for part in STATISTICS[statistic])
    shape = (-1, *[1] * (similarities.ndim - 1))
    return (similarities - origin.reshape(shape)) / unit.reshape(shape)


def threshold(statistic: str, tried: Sequence[Trial], returning: float) -> float:
    """The level that no more than this share of any collection's queries reach without their category."""
    gone = [score(statistic, one.best_without, one.usual_without) for one in tried]
    return max(float(np.quantile(values, 1 - returning, method="higher")) for values in gone)


def same_level(tried: Sequence[Trial]) -> float:
    """How far from the first quartile to 1 the nearest other images are, but for few of them.

    Each collection counts alike: the drawings hold 48 clocks that hardly differ, the photographs a pyramid
    twice.
    """
    nearest = [score(ROOM, one.best, one.usual) for one in tried]
    values = np.concatenate(nearest)
    weights = np.concatenate([np.full(len(part), 1 / len(part) / len(nearest)) for part in nearest])
    order = np.argsort(-values)
    return float(values[order][np.searchsorted(np.cumsum(weights[order]), MISTAKEN)])


def figures(statistic: str, level: float, one: Trial, seed: int = 0) -> dict[str, Any]:
    """AUROC, and the shares at this level, of one collection, with 95% intervals.

    `kept` and `answered` are of searches whose best result must reach the level, `kept_each` of those
    where each result must.
    """
    there, gone = (
        score(statistic, one.best, one.usual),
        score(statistic, one.best_without, one.usual_without),
    )
    true = score(statistic, one.true, one.usual)
    known, kept_each = (~np.isnan(true)).sum(axis=1), (true > level).sum(axis=1)
    kept = known * (there > level)
    resampling = Resampling(one.clusters, seed=seed)
    columns = np.stack([known, kept, gone > level, kept > 0, np.ones(len(gone)), kept_each], axis=1)
    columns = columns.astype(float)
    sums = resampling.sums(columns)
    drawn = np.concatenate([draw @ sums for draw in resampling.drawn()])
    total = columns.sum(axis=0)

    def share(part: int, whole: int) -> dict[str, float]:
        low, high = interval(drawn[:, part] / np.maximum(drawn[:, whole], 1))
        return {"value": total[part] / total[whole], "low": low, "high": high}

    return {
        "queries": len(gone),
        "auroc": _auroc(there, gone, one.clusters, seed),
        "kept": share(1, 0),
        "kept_each": share(5, 0),
        "answered": share(3, 4),
        "returning": share(2, 4),
    }


def _auroc(there: Values, gone: Values, clusters: Sequence[str], seed: int) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score  # a second, which importing the module does without

    truth, values = np.repeat([1, 0], [len(there), len(gone)]), np.concatenate([there, gone])
    resampling = Resampling(clusters, seed=seed, draws=400)
    places = np.unique(np.array(clusters, dtype=object).astype(str), return_inverse=True)[1]
    draws = [
        roc_auc_score(truth, values, sample_weight=np.tile(draw[places], 2))
        for part in resampling.drawn()
        for draw in part
    ]
    low, high = interval(np.array(draws))
    return {"value": float(roc_auc_score(truth, values)), "low": low, "high": high}


def compared(chosen: Sequence[Trial], reported: Sequence[Trial]) -> list[dict[str, Any]]:
    """Every statistic: its level from the first half, its figures there and on the second.

    The best first: the one that keeps most where each result must reach the level.
    """
    rows = []
    for statistic in STATISTICS:
        level = threshold(statistic, chosen, RETURNING["related"])
        rows.append(
            {
                "statistic": statistic,
                "level": level,
                "kept_in_choosing": float(np.mean([_kept(statistic, level, one) for one in chosen])),
                "collections": {one.collection: figures(statistic, level, one) for one in reported},
            }
        )
    return sorted(rows, key=lambda row: -row["kept_in_choosing"])


def _kept(statistic: str, level: float, one: Trial) -> float:
    true = score(statistic, one.true, one.usual)
    return float((true > level).sum() / max(1, (~np.isnan(true)).sum()))


def levels(statistic: str, tried: Sequence[Trial], kind: str) -> dict[str, Any]:
    """The least of each level by this statistic; a text is never the image itself."""
    found = {name: threshold(statistic, tried, share) for name, share in RETURNING.items()}
    return {"unit": UNITS[statistic], **found, "same": same_level(tried) if kind == "image" else None}


def strangers(statistic: str, level: float, asked: Images, collection: Images) -> float:
    """The share of one collection's images that find anything at this level in another one."""
    similarities = (asked.vectors @ collection.vectors.T).astype(float)
    rows = seeds.sample(len(collection.vectors), trials.SAMPLED, 0, "strangers")
    sample = np.array(rows)
    nobody = np.full(len(similarities), -1)
    usual = trials.usual(
        similarities, collection.vectors, {"": sample}, np.full(len(similarities), ""), nobody
    )
    return float((score(statistic, similarities.max(axis=1), usual) > level).mean())


def measure(collections: Sequence[Images], embed: Callable[[Sequence[str]], Any]) -> dict[str, Any]:
    """The levels for each kind of query, and how good they are."""
    found: dict[str, Any] = {"kinds": {}}
    for kind in KINDS:
        halves = [
            [_tried(one.half(number), kind, embed) for one in collections] for number in (CHOICE, REPORT)
        ]
        rows = compared(*halves)
        usable = [row["statistic"] for row in rows if row["statistic"] in UNITS]
        found["kinds"][kind] = {
            "statistics": rows,
            "chosen": usable[0],
            "levels": levels(usable[0], halves[CHOICE], kind),
            "generic": levels(GENERIC[kind], halves[CHOICE], kind),
            "strong": {
                one.collection: figures(
                    usable[0], threshold(usable[0], halves[CHOICE], RETURNING["strong"]), one
                )
                for one in halves[REPORT]
            },
        }
    return found


def _tried(images: Images, kind: str, embed: Callable[[Sequence[str]], Any]) -> Trial:
    return trials.tried(images, kind, trials.queries(images, kind, embed))


def vectors(name: str, collection: Collection, method: Embedding, decode: Decode) -> Images:
    """The collection's labelled images as vectors."""
    found = features.extract(collection.items, [method], decode, _silent, "")
    return Images(
        name=name,
        vectors=found.features[method.name],
        categories=np.array([item.label for item in found.items]),
        groups=np.array([item.group or item.key for item in found.items]),
        captions=tuple(item.captions or (_words(item.key),) for item in found.items),
    )


def _words(key: str) -> str:
    """The words of a photograph's file name: `castle clinton` for `monuments/castle_clinton2.jpg`."""
    return " ".join(re.sub(r"[\d_]+", " ", Path(key).stem).split())


def _silent(*_: object) -> None:
    pass


def main() -> None:
    """Measures and writes the published figures."""
    configuration = settings.load()
    (method,) = choice.load([configuration.embedding_models[0]], configuration=configuration)
    assert isinstance(method, Embedding)
    decode = pool.start(configuration).decode
    cache = configuration.embedding_cache / "npm"
    collections = [
        vectors("drawings", emoji.captioned(cache), method, decode),
        vectors("photographs", folder.collection(samples.IMAGES), method, decode),
    ]
    found = measure(collections, method.text_features)
    image = found["kinds"]["image"]
    level = image["levels"]["related"]
    first, second = collections
    found["strangers"] = {
        f"{asked.name} in {there.name}": strangers(image["chosen"], level, asked, there)
        for asked, there in ((first, second), (second, first))
    }
    report = {"model": method.name, "machine": machine(), **found}
    PUBLISHED.write_text(json.dumps(rounded(report), indent=1) + "\n")


if __name__ == "__main__":
    main()
