"""How complete and how fast searches are: by strategy and size, by caller and filter, and over HTTP.

The documents are drawn from a mixture fitted to real embeddings (benchmarks/mixture.py). Everything happens
in databases of the benchmark's own, which the command line makes: see `docs/speed.md`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import mixture, search_callers, search_http, search_served, search_strategies, search_words
from benchmarks.figures import Figure
from benchmarks.search_callers import MATCH, Result
from benchmarks.search_http import Http
from benchmarks.search_queries import Collection, Turns, connected, take_turns
from benchmarks.search_rows import Connection, Show, fill, rows
from benchmarks.search_strategies import Measurement
from benchmarks.speed import machine
from shared.settings import Settings

NATIVE = "efficientnet-lite0"
NATIVE_DIMENSIONS, OTHER_DIMENSIONS = 1280, 512
QUERIES = 100
CANDIDATES = 52  # of an index, which match_documents looks at for a page of ten of 100,000: as many by hand
GROWTH_ROUNDS, GROWTH_SECONDS = 60, 5.0


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the documents go; all of it is the command line's to make and to take away."""

    served: str  # a superuser's URL of the database of a stack that runs for this alone
    settings: Settings  # of its clients
    make: Callable[[], str]  # an empty database with the project in it, as a superuser's URL
    drop: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many vectors; callers, filters and HTTP are measured on the largest of `native`."""

    native: tuple[int, ...] = (10_000, 100_000)
    other: tuple[int, ...] = (10_000, 100_000)


@dataclass(frozen=True, kw_only=True)
class Match:
    """match_documents' p50 in milliseconds for a superuser, who sees everything."""

    first: float  # when the queries are asked for the first time
    again: float  # when all that they need is in the server's own memory
    recall: float  # mean recall@10


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything, as the tables have it."""

    strategies: Sequence[Measurement]
    matches: dict[tuple[int, int], Match]  # (dimensions, vectors) -> match_documents
    callers: Sequence[Result]
    filters: Sequence[Result]
    words: Sequence[Figure]
    http: Http
    served: Sequence[Figure]


def measure(places: Places, sizes: Sizes, command: str, show: Show, *, seed: int = 1) -> dict[str, Any]:
    """The report as JSON can hold it; `search_report` makes tables of it."""
    began, load = time.monotonic(), os.getloadavg()[0]
    strategies: list[Measurement] = []
    matches: dict[tuple[int, int], Match] = {}
    for dimensions, count in _small(sizes):
        url = places.make()
        try:
            with connected(url) as connection:
                collection = _filled(connection, dimensions, count, seed, show)
                strategies += search_strategies.measure(connection, collection, show)
                matches[dimensions, count] = _match(connection, collection)
        finally:
            places.drop(url)
    with connected(places.served) as connection:
        collection = _filled(connection, NATIVE_DIMENSIONS, max(sizes.native), seed, show)
        strategies += search_strategies.measure(connection, collection, show)
        matches[NATIVE_DIMENSIONS, max(sizes.native)] = _match(connection, collection)
        measured = Measured(
            strategies=sorted(strategies, key=lambda one: (-one.dimensions, one.vectors)),
            matches=matches,
            **_as_callers(connection, collection, seed, show),
            words=search_words.measure(connection, collection, show),
            http=search_http.measure(connection, collection, places.settings, show),
            served=search_served.measure(places.settings, NATIVE, seed, show),
        )
    return {
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": command,
        "machine": machine() | {"load": round(load, 1)},
        "seconds": round(time.monotonic() - began),
        "seed": seed,
        "strategies": [one.row() for one in measured.strategies],
        "callers": [one.row() for one in measured.callers],
        "filters": [one.row() for one in measured.filters],
        "figures": [one.as_json() for one in figures(measured)],
    }


def figures(measured: Measured) -> list[Figure]:
    """The figures with targets, and the cost of HTTP."""
    return [
        *_of_callers(measured.callers),
        *_of_filters(measured.filters),
        *measured.words,
        *_of_growth(measured.matches),
        *_of_http(measured.http),
        *measured.served,
    ]


def _small(sizes: Sizes) -> list[tuple[int, int]]:
    """All but the one that is served, the largest last."""
    native = [(NATIVE_DIMENSIONS, count) for count in sorted(sizes.native)[:-1]]
    return native + [(OTHER_DIMENSIONS, count) for count in sorted(sizes.other)]


def _filled(connection: Connection, dimensions: int, count: int, seed: int, show: Show) -> Collection:
    fitted = mixture.load()
    stored = np.empty((count, dimensions), np.float32)
    done = 0
    for batch in fitted.draw(count, seed=seed, dimensions=dimensions):
        stored[done : done + len(batch)] = batch
        done += len(batch)
        show(f"drawing {count:,} vectors of {dimensions}", done, count)
    (queries,) = fitted.draw(QUERIES, seed=seed, stream=mixture.QUERIES, dimensions=dimensions)
    model = NATIVE if dimensions == NATIVE_DIMENSIONS else f"mixture-{dimensions}"
    _activate(connection, model, dimensions)
    fill(connection, model, stored, seed=seed, show=show)
    return Collection(model=model, stored=stored, queries=queries)


def _activate(connection: Connection, model: str, dimensions: int) -> None:
    """Makes it the model that searches use, without an index until the documents are there."""
    connection.execute("update neural_search.models set state = 'retired' where name <> %s", [model])
    connection.execute(
        "insert into neural_search.models (name, dimensions, state) values (%s, %s, 'active')"
        " on conflict (name) do nothing",
        [model, dimensions],
    )
    ((index,),) = connection.execute("select neural_search.index_name(%s)", [model]).fetchall()
    connection.execute(f'drop index if exists neural_search."{index}"'.encode())


def _match(connection: Connection, collection: Collection) -> Match:
    statement = {"match": MATCH.format(more="")}

    def asked(rounds: int) -> Turns:
        return take_turns(connection, collection, statement, rounds=rounds, seconds=GROWTH_SECONDS)["match"]

    first = asked(GROWTH_ROUNDS)
    again = asked(len(first.milliseconds))
    return Match(first=first.percentile(50), again=again.percentile(50), recall=again.recall)


def _as_callers(connection: Connection, collection: Collection, seed: int, show: Show) -> dict[str, Any]:
    connection.execute("create policy everything on storage.objects for select to anon using (true)")
    connection.execute(f"set hnsw.ef_search = {CANDIDATES}".encode())
    connection.execute("reset enable_sort")
    made = list(rows(len(collection.stored), seed))
    return {
        name: search_callers.measure(connection, collection, list(cases(made)), show)
        for name, cases in (("callers", search_callers.callers), ("filters", search_callers.filters))
    }


def _of_callers(results: Sequence[Result]) -> list[Figure]:
    everything, others = results[0], results[1:]
    assert everything.to_hnsw is not None
    rarest = min(one.visible for one in results)
    worst = max(others, key=lambda one: one.to_exact or 0)
    as_caller = max(others, key=lambda one: one.to_exact_as_caller or 0)
    declared = max((one for one in others if one.declared), key=lambda one: one.p50_ms)
    return [
        Figure(
            row="callers",
            what="match_documents ÷ HNSW by hand, of 100% visible",
            value=everything.to_hnsw,
            unit="x",
            target=1.4,
            at_most=True,
            note=f"{everything.p50_ms:.1f} ms; recall {everything.recall:.3f}, "
            f"by hand {everything.hnsw_recall:.3f}",
        ),
        _completeness("callers", "callers with a full page, of all who are measured", results),
        _recall("callers", "least recall@10 of a caller", results),
        Figure(
            row="callers",
            what="match_documents ÷ exact search by hand over the visible, at most",
            value=worst.to_exact or 0,
            unit="x",
            target=1.2,
            at_most=True,
            note=f"{worst.case}; by hand without our policy on documents",
        ),
        Figure(
            row="callers",
            what="match_documents ÷ exact search by hand as the same caller, at most",
            value=as_caller.to_exact_as_caller or 0,
            unit="x",
            target=1.2,
            at_most=True,
            note=as_caller.case,
        ),
        Figure(
            row="callers",
            what="match_documents where visibility is declared ÷ HNSW by hand, of 100% visible, at most",
            value=declared.p50_ms / (everything.p50_ms / everything.to_hnsw),
            unit="x",
            target=3.0,
            at_most=True,
            note=f"{declared.case}, {declared.p50_ms:.1f} ms",
        ),
        Figure(
            row="callers",
            what="slowest search of who sees 0.1%",
            value=max(one.most_ms for one in results if one.visible == rarest) / 1000,
            unit="s",
            target=3.0,
            at_most=True,
        ),
    ]


def _of_filters(results: Sequence[Result]) -> list[Figure]:
    narrowed = [one for one in results if not one.case.startswith("metadata")]
    worst = max(narrowed, key=lambda one: one.to_hnsw or 0)
    rare = next(one for one in results if one.case == "metadata of 0.1%")
    return [
        Figure(
            row="filters",
            what="match_documents narrowed by bucket, prefix or owner ÷ HNSW by hand, not narrowed, at most",
            value=worst.to_hnsw or 0,
            unit="x",
            target=3.0,
            at_most=True,
            note=f"{worst.case}, {worst.p50_ms:.1f} ms",
        ),
        Figure(
            row="filters",
            what="match_documents narrowed to 0.1% by metadata, p50",
            value=rare.p50_ms,
            unit="ms",
            target=25.0,
            at_most=True,
        ),
        _completeness("filters", "filters with a full page, of all that are measured", results),
        _recall("filters", "least recall@10 of a filter", results),
    ]


def _completeness(row: str, what: str, results: Sequence[Result]) -> Figure:
    share = sum(one.complete for one in results) / len(results)
    missing = ", ".join(f"{one.case}: {one.count}" for one in results if not one.complete)
    return Figure(row=row, what=what, value=100 * share, unit="%", target=100.0, note=missing)


def _recall(row: str, what: str, results: Sequence[Result]) -> Figure:
    worst = min(results, key=lambda one: one.recall)
    return Figure(row=row, what=what, value=worst.recall, unit="", target=0.95, note=worst.case)


def _of_growth(matches: dict[tuple[int, int], Match]) -> list[Figure]:
    """The target is that of the whole way from 10,000 to 1,000,000."""
    found = []
    for dimensions in sorted({one for one, _ in matches}, reverse=True):
        counts = sorted(count for one, count in matches if one == dimensions)
        least, most = matches[dimensions, counts[0]], matches[dimensions, counts[-1]]
        whole = counts[-1] >= 100 * counts[0]
        found.append(
            Figure(
                row="growth",
                what=f"match_documents, {counts[-1]:,} ÷ {counts[0]:,} vectors of {dimensions}, asked again",
                value=most.again / least.again,
                unit="x",
                target=3.0 if whole else None,
                at_most=True,
                note=f"p50 {most.again:.1f} ms; {least.again:.1f} ms; when first asked {most.first:.1f} ms; "
                f"{least.first:.1f} ms; recall {most.recall:.3f}; {least.recall:.3f}",
            )
        )
    return found


def _of_http(http: Http) -> list[Figure]:
    rest = float(np.median(np.subtract(http.rest, http.sql)))
    p50, p95 = np.percentile(http.by_image, [50, 95])
    return [
        Figure(
            row="http",
            what="what HTTP and PostgREST's path add to match_documents",
            value=rest,
            unit="ms",
            note=f"p50 {np.median(http.rest):.1f} ms; SQL {np.median(http.sql):.1f} ms; the embedded gateway",
        ),
        Figure(
            row="http",
            what="query by image over HTTP, efficientnet-lite0, p95",
            value=float(p95),
            unit="ms",
            target=100.0,
            at_most=True,
            note=f"p50 {p50:.1f} ms; one caller, sample photographs",
        ),
    ]
