"""A collection and methods to figures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from evaluation import features, outcomes, records, seeds, tasks
from evaluation.collection import Collection, Item
from evaluation.features import Extracted, Progress
from evaluation.machine import machine
from evaluation.methods import Features, Method, Reranker, Similarities
from evaluation.outcomes import Outcome
from evaluation.ranking import rank
from evaluation.tasks import Task
from shared import settings
from shared.errors import CollectionError
from shared.images import Decode
from shared.images.sandbox import pool

TEXTS = 64  # at a time


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures, ready for JSON, and their items and features."""

    data: dict[str, Any]  # see docs/evaluation.md
    items: tuple[Item, ...]  # those that could be read
    features: dict[str, Features]  # by method: a row for each of `items`


def evaluate(
    collection: Collection,
    methods: Sequence[Method],
    kinds: Sequence[str] | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    decode: Decode | None = None,
) -> Report:
    """Ask every method all tasks that the collection offers, or those of `kinds`.

    `progress(doing, done, total)` is called often. `decode(data, *, min_side)` is by default that of decoders
    of its own, with the limits of the settings. CollectionError where nothing can be asked.
    """
    with ExitStack() as stack:
        decode = decode or stack.enter_context(closing(pool.start(settings.load()))).decode
        return _Run(collection, methods, seed, progress or _silent, decode).report(kinds)


class _Run:
    def __init__(
        self,
        collection: Collection,
        methods: Sequence[Method],
        seed: int,
        progress: Progress,
        decode: Decode,
    ):
        self.methods, self.seed, self.progress, self.decode = methods, seed, progress, decode
        self.extracted = features.extract(collection.items, methods, decode, progress, "Reading the images")
        self.collection = collection.only(self.extracted.digests)
        if len(self.collection.items) < 2:
            raise CollectionError(
                f"{collection.name}: {len(self.collection.items)} of {len(collection.items)} images can be "
                f"read, {_first(self.extracted)}. Expected at least 2."
            )
        self.rows = {item.key: row for row, item in enumerate(self.extracted.items)}

    def report(self, kinds: Sequence[str] | None) -> Report:
        chosen = _chosen(kinds, tasks.offered(self.collection), self.collection.name)
        answered = {kind: self.answered(tasks.make(kind, self.collection, self.seed)) for kind in chosen}
        data = self.heading() | _sections(answered, self.seed)
        return Report(
            data=records.rounded(data), items=self.collection.items, features=self.extracted.features
        )

    def heading(self) -> dict[str, Any]:
        return {
            "format": records.FORMAT,
            "collection": {
                "name": self.collection.name,
                "items": len(self.collection.items),
                "labels": self.collection.labels,
                "fingerprint": self.collection.fingerprint(self.extracted.digests),
            },
            "seed": self.seed,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "failures": [asdict(failure) for failure in self.extracted.failures],
            "methods": [self.described(method) for method in self.methods],
        }

    def described(self, method: Method) -> dict[str, Any]:
        rows = self.extracted.features[method.name]
        return {
            "name": method.name,
            "bytes_per_image": int(rows[0].nbytes),
            "feature_seconds": self.extracted.seconds[method.name],
        }

    def answered(self, task: Task) -> list[tuple[Outcome, float]]:
        """Each method that can be asked this task, and the seconds that the queries' features took."""
        methods = [method for method in self.methods if method.supports_text or task.kind != "text"]
        task, asked = self.asked(task, methods)
        return [
            (self.outcome(task, method, asked.features), asked.seconds.get(method.name, 0.0))
            for method in methods
        ]

    def asked(self, task: Task, methods: Sequence[Method]) -> tuple[Task, Extracted]:
        """The queries' features, and the task without those that can't be read any more."""
        if task.kind == "text":
            return task, self.embedded_texts(task, methods)
        if task.kind != "copies":
            rows = [self.rows[query.key] for query in task.queries]
            return task, Extracted(features={m.name: self.extracted.features[m.name][rows] for m in methods})
        items = tasks.pictures(task.queries, self.seed, self.decode)
        found = features.extract(items, methods, self.decode, self.progress, "Editing the images")
        return _without(task, found), found

    def embedded_texts(self, task: Task, methods: Sequence[Method]) -> Extracted:
        texts, found = [query.text or "" for query in task.queries], Extracted()
        for method in methods:
            began, parts = time.perf_counter(), []
            for start in range(0, len(texts), TEXTS):
                parts.append(method.text_features(texts[start : start + TEXTS]))
                self.progress(f"Reading the texts: {method.name}", min(start + TEXTS, len(texts)), len(texts))
            found.features[method.name] = np.concatenate(parts)
            found.seconds[method.name] = time.perf_counter() - began
        return found

    def outcome(self, task: Task, method: Method, asked: dict[str, Features]) -> Outcome:
        rows, began = np.arange(len(task.queries)), time.perf_counter()
        if isinstance(method, Reranker):
            rows = np.array(
                seeds.sample(len(rows), method.most_queries, self.seed, task.kind, "rerank"), np.intp
            )
        ranking = rank(
            task,
            rows,
            partial(self.similarities, task, method, asked, rows),
            keep_pairs=task.kind == "copies",
            progress=partial(self.progress, f"Searching: {task.kind}, {method.name}"),
        )
        return Outcome(task, method.name, ranking, time.perf_counter() - began)

    def similarities(
        self, task: Task, method: Method, asked: dict[str, Features], rows: Any, block: slice
    ) -> Similarities:
        gallery = [self.rows[item.key] for item in task.gallery]
        every = self.extracted.features
        if not isinstance(method, Reranker):
            return method.similarities(asked[method.name][rows[block]], every[method.name][gallery])
        base = method.base
        first = base.similarities(asked[base.name][rows[block]], every[base.name][gallery])
        for line, row in zip(first, rows[block], strict=True):
            line[task.hidden[row]] = -np.inf
        return method.reranked(first, asked[method.name][rows[block]], every[method.name][gallery])


def _sections(answered: dict[str, list[tuple[Outcome, float]]], seed: int) -> dict[str, Any]:
    every = [pair for pairs in answered.values() for pair in pairs]
    found = [outcome for outcome, _ in every]
    compared = [[outcome for outcome, _ in pairs] for pairs in answered.values()]
    return {
        "results": [records.result(outcome, seed, seconds) for outcome, seconds in every],
        "comparisons": [one for several in compared for one in outcomes.compare(several, seed)],
        "curves": [records.curve(outcome) for outcome in found],
        "similarities": [records.similarities(outcome) for outcome in found],
        "indexes": [],
        "examples": [example for outcome in found for example in records.examples(outcome)],
        "parts": [part for outcome in found for part in records.parts(outcome)],
        "queries": {several[0].task.kind: _queries(several[0].task) for several in compared if several},
        "per_query": {
            f"{outcome.task.kind}/{outcome.method}": {
                name: values.tolist() for name, values in outcome.per_query.items()
            }
            for outcome in found
        },
        "draws": {
            f"{outcome.task.kind}/{outcome.method}": {
                name: drawn.tolist() for name, drawn in outcome.pair_draws(seed).items()
            }
            for outcome in found
            if outcome.pairs
        },
        "asked": {
            f"{outcome.task.kind}/{outcome.method}": outcome.rows
            for outcome in found
            if len(outcome.rows) < len(outcome.task.queries)
        },
    }


def _queries(task: Task) -> dict[str, list[str]]:
    return {
        "keys": [query.key for query in task.queries],
        "clusters": [query.cluster for query in task.queries],
    }


def _without(task: Task, found: Extracted) -> Task:
    rows = [row for row, query in enumerate(task.queries) if query.key in found.digests]
    return replace(
        task,
        queries=tuple(task.queries[row] for row in rows),
        relevant=tuple(task.relevant[row] for row in rows),
        hidden=tuple(task.hidden[row] for row in rows),
    )


def _chosen(kinds: Sequence[str] | None, offered: Sequence[str], name: str) -> list[str]:
    missing = [kind for kind in kinds or () if kind not in offered]
    if missing:
        raise CollectionError(
            f"{name} offers no task {missing[0]!r}. It offers: {', '.join(offered)}. Tasks by label need two "
            "images of one label, pairs two of one group, texts a caption.",
            value=missing[0],
        )
    return [kind for kind in offered if kinds is None or kind in kinds]


def _first(extracted: Extracted) -> str:
    if not extracted.failures:
        return "none failed"
    failure = extracted.failures[0]
    return f"the first that failed is {failure.key!r} ({failure.message})"


def _silent(doing: str, done: int, total: int) -> None:
    pass
