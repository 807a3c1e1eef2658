"""How long a search by words takes beside one without, under policies, and the size of words.

match_documents and search_documents take turns on the same connection, as the same caller, warm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.contest import ratio
from benchmarks.figures import Figure
from benchmarks.search_callers import ADMIN, MATCH, policy
from benchmarks.search_queries import Collection, Turns, acting, take_turns
from benchmarks.search_rows import Connection, Show, owner

ROUNDS, SECONDS = 40, 6.0
EVERY = {
    "unheardof": 0,
    "rare": 1000,
    "middling": 100,
    "common": 10,
    "everywhere": 2,
}  # one document in so many
CALLERS: dict[str, dict[str, Any]] = {"100%": ADMIN, "10%": {"sub": owner("10%")}}
SEARCH = """
select content, similarity from public.search_documents(
  query_embedding => %(query)s::vector, query_text => %(word)s, similarity_threshold => -1, match_count => 10
)
"""


def measure(connection: Connection, collection: Collection, show: Show) -> list[Figure]:
    """For a superuser's connection, in a database of the benchmark's own."""
    return [_weight(connection, show), *_costs(connection, collection, show)]


def _weight(connection: Connection, show: Show) -> Figure:
    """Of the words of the paths and metadata that the rows have."""
    show("writing words", 0, 1)
    connection.execute("select neural_search.write_words()")
    ((count, words, documents),) = connection.execute("""
        select
          (select count(*) from neural_search.words)::float8 / (select count(*) from neural_search.documents),
          pg_total_relation_size('neural_search.words'), pg_total_relation_size('neural_search.documents')
    """).fetchall()
    return Figure(
        row="words",
        what="storage of words ÷ that of documents and their indexes",
        value=100 * words / documents,
        unit="%",
        target=10.0,
        at_most=True,
        note=f"{count:.1f} words a document",
    )


def _costs(connection: Connection, collection: Collection, show: Show) -> Iterator[Figure]:
    for word, every in EVERY.items():
        connection.execute(
            "insert into neural_search.words select %s, d.id, 1 from neural_search.documents as d"
            " where d.id %% nullif(%s, 0) = 0",
            [word, every],
        )
    connection.execute("vacuum (analyze) neural_search.words")
    for done, (word, every) in enumerate(EVERY.items()):
        show("searching by words", done, len(EVERY))
        for share, claims in CALLERS.items():
            with policy(connection, "owner"), acting(connection, "authenticated", claims):
                turns = take_turns(
                    connection,
                    collection,
                    {"match": MATCH.format(more=""), "search": SEARCH},
                    rounds=ROUNDS,
                    seconds=SECONDS,
                    values={"word": word},
                )
            having = f"a word of one document in {every}" if every else "a word that no document has"
            yield _cost(f"search_documents ÷ match_documents, {having}, of {share} visible", turns)


def _cost(what: str, turns: dict[str, Turns]) -> Figure:
    times = {name: one.milliseconds for name, one in turns.items()}
    match, search = (turns[name].percentile(50) for name in ("match", "search"))
    return Figure(
        row="words",
        what=what,
        value=ratio(times, "search", "match"),
        unit="x",
        note=f"p50 {search:.1f} ms; match_documents {match:.1f} ms",
    )
