"""The cost of HTTP: the same search by SQL, through PostgREST's path, by image through the query function.

Of a running stack whose database has a policy that lets anon see everything. They take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import requests

from benchmarks.mixture import Vectors
from benchmarks.photographs import samples
from benchmarks.search_callers import MATCH
from benchmarks.search_queries import Collection, acting, ask, text
from benchmarks.search_rows import Connection, Show
from shared.settings import Settings

ROUNDS = 60
WARM_UP = 5


@dataclass(frozen=True, kw_only=True)
class Http:
    """Milliseconds of each round, as the client sees them."""

    sql: list[float]
    rest: list[float]
    by_image: list[float]


def measure(connection: Connection, collection: Collection, settings: Settings, show: Show) -> Http:
    """Each way with `ROUNDS` queries; `connection` is a superuser's, to the stack's own database."""
    pictures = [path.read_bytes() for path in samples()[:ROUNDS]]
    spent: dict[str, list[float]] = {"sql": [], "rest": [], "by_image": []}
    with requests.Session() as session, acting(connection, "anon", {}):
        session.headers["apikey"] = settings.need("publishable_key")

        def sql(number: int) -> float:
            return ask(connection, MATCH.format(more=""), _query(collection, number))[0]

        def rest(number: int) -> float:
            body = {
                "query_embedding": text(_query(collection, number)),
                "similarity_threshold": -1,
                "match_count": 10,
            }
            url = f"{settings.need('supabase_url')}/rest/v1/rpc/match_documents"
            return _timed(lambda: session.post(url, json=body, timeout=60))

        def by_image(number: int) -> float:
            url = f"{settings.query_url}?limit=10&min_similarity=-1&best_confidence=unrelated"
            body, kind = pictures[number % len(pictures)], {"Content-Type": "image/jpeg"}
            return _timed(lambda: session.post(url, data=body, headers=kind, timeout=60))

        for number in range(-WARM_UP, ROUNDS):
            show("searches over HTTP", max(number, 0), ROUNDS)
            for name, way in (("sql", sql), ("rest", rest), ("by_image", by_image)):
                milliseconds = way(number)
                if number >= 0:
                    spent[name].append(milliseconds)
    return Http(**spent)


def _query(collection: Collection, number: int) -> Vectors:
    query: Vectors = collection.queries[number % len(collection.queries)]
    return query


def _timed(call: Callable[[], requests.Response]) -> float:
    """Until the whole answer is here; requests' own error for one that isn't a success."""
    began = time.perf_counter()
    answer = call()
    milliseconds = (time.perf_counter() - began) * 1000
    answer.raise_for_status()
    return milliseconds
