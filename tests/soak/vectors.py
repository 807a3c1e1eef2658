"""The index of vectors is as good as a fresh one after half of its documents were deleted or overwritten.

Beside vacuums, and through our own functions as Storage and workers do it. Judged against exact answers that
don't come from Postgres.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soak.outcome import Outcome

from benchmarks import mixture, search_rows
from benchmarks.mixture import QUERIES, Vectors
from benchmarks.search_queries import Collection, Turns, connected, take_turns, text
from cli.stacks.benchmark_stack import database

MODEL = "soak"
ASKED = 200  # queries
WORSE_BY = 0.01  # recall at 10, of which the fresh index may have so much more
MATCH = "select content from public.match_documents(%(query)s::extensions.vector, -1, 10)"
# The graph itself, at pgvector's own ef_search, without our searches' measures to miss nothing.
WALK = """
select content from neural_search.documents where model = 'soak'
order by embedding::extensions.halfvec(1280)
  operator(extensions.<=>) %(query)s::extensions.halfvec(1280) limit 10
"""
OVERWRITE = "update storage.objects set version = 'v2' where id = %s"
FINISH = "select public.finish_embedding_job(%s, %s, 'v2', %s, 'hash', 640, 480, 'image/jpeg')"


def run(count: int = 20_000, seed: int = 1) -> Outcome:
    """A database of its own; `count` documents of 1280 dimensions."""
    began = time.monotonic()
    fitted = mixture.load()
    drawn = np.concatenate(list(fitted.draw(count + count // 4, seed=seed)))
    stored, changed = drawn[:count], drawn[count:]
    (queries,) = fitted.draw(ASKED, seed=seed, stream=QUERIES)
    collection = Collection(model=MODEL, stored=stored, queries=queries)
    with database() as url, connected(url) as connection:
        index = _fill(connection, collection, seed)
        first = _ask(connection, collection, np.ones(count, dtype=bool))
        _require_use(connection, index)
        with _vacuuming(url):
            there = _change(connection, collection, changed, seed)
        connection.execute("vacuum neural_search.documents")
        used = _ask(connection, collection, there)
        connection.execute(f"reindex index concurrently neural_search.{index}".encode())
        fresh = _ask(connection, collection, there)
        ((version,),) = connection.execute(
            "select extversion from pg_extension where extname = 'vector'"
        ).fetchall()
    for name in fresh:
        print(
            f"vectors, {name}: {count:,} documents, pgvector {version}; recall at 10 "
            f"{first[name].recall:.4f} at first, {used[name].recall:.4f} after half were deleted or "
            f"overwritten, {fresh[name].recall:.4f} by a fresh index"
        )
    return Outcome(
        part="vectors",
        operations=count // 2,
        seconds=time.monotonic() - began,
        evidence=tuple(line for name in fresh for line in _judge(name, used[name], fresh[name])),
    )


def _judge(name: str, used: Turns, fresh: Turns) -> Iterator[str]:
    if used.recall < fresh.recall - WORSE_BY:
        yield f"{name}: recall is {used.recall:.4f}, and {fresh.recall:.4f} by a fresh index"
    if min(used.counts) < min(fresh.counts):
        yield f"{name}: {min(used.counts)} of 10 were found"


def _fill(connection: search_rows.Connection, collection: Collection, seed: int) -> str:
    """The name of the index that is made, over all of it."""
    connection.execute("select public.add_model(%s, %s)", [MODEL, collection.dimensions])
    connection.execute("update neural_search.models set state = 'retired' where state = 'active'")
    connection.execute("update neural_search.models set state = 'active' where name = %s", [MODEL])
    ((index, definition),) = connection.execute(
        "select neural_search.index_name(m.name),"
        " neural_search.index_definition(m.name, m.dimensions, m.search_strategy)"
        " from neural_search.models as m where m.name = %s",
        [MODEL],
    ).fetchall()
    search_rows.fill(connection, MODEL, collection.stored, seed=seed, show=lambda *_: None)
    connection.execute(f"create index if not exists {index} on neural_search.documents {definition}".encode())
    return str(index)


def _require_use(connection: search_rows.Connection, index: str) -> None:
    """Exact answers would say nothing about it."""
    connection.execute("select pg_stat_force_next_flush()")
    ((scans,),) = connection.execute(
        "select idx_scan from pg_stat_user_indexes where indexrelid = %s::regclass",
        [f"neural_search.{index}"],
    ).fetchall()
    if int(str(scans)) < ASKED:
        raise AssertionError(f"the index was read {scans} times for {ASKED} searches")


def _change(
    connection: search_rows.Connection, collection: Collection, changed: Vectors, seed: int
) -> NDArray[np.bool_]:
    """Deletes a quarter of the objects and overwrites another, in random order; which ones are there."""
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(collection.stored))[: 2 * len(changed)]
    ids = [row.id for row in search_rows.rows(len(collection.stored), seed)]
    there = np.ones(len(collection.stored), dtype=bool)
    connection.execute("set storage.allow_delete_query = 'true'")
    for place, number in enumerate(chosen):
        if place % 2:
            connection.execute("delete from storage.objects where id = %s", [ids[number]])
            there[number] = False
        else:
            collection.stored[number] = changed[place // 2]
            connection.execute(OVERWRITE, [ids[number]])
            connection.execute(FINISH, [ids[number], MODEL, text(changed[place // 2])])
    return there


def _ask(
    connection: search_rows.Connection, collection: Collection, there: NDArray[np.bool_]
) -> dict[str, Turns]:
    given: dict[str, Any] = {"rounds": ASKED, "seconds": 3600.0, "visible": there}
    return take_turns(connection, collection, {"search": MATCH, "graph": WALK}, **given)


@contextmanager
def _vacuuming(url: str) -> Iterator[None]:
    """One vacuum after the other: pgvector's repairs of the graph meet its changes."""
    over = threading.Event()

    def vacuum() -> None:
        with connected(url) as connection:
            while not over.wait(1.0):
                connection.execute("vacuum neural_search.documents")

    thread = threading.Thread(target=vacuum)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
