"""Pages of search_documents miss nothing, and by the exact strategy tell nothing of hidden images."""

from __future__ import annotations

import json
import random
from contextlib import ExitStack

import pytest
from psycopg.types.json import Jsonb
from support.databases import as_role, clone, make_crowd

ME = "00000000-0000-4000-8000-000000000001"
SEEN = 1500
HIDDEN = {"none": [], "with the words": ["red/blue/tree"] * 3000, "without": ["moon"] * 3000}
SEARCH = """
    select id from public.search_documents(
      %(query)s, %(text)s, %(weight)s, -1, %(count)s, page_after => %(after)s
    )
"""
BY_HAND = """
    select d.id, 1 - (d.embedding operator(extensions.<=>) q.unit) + %(weight)s * (
        select count(*) from neural_search.words as w
        where w.document_id = d.id and w.lexeme = any (%(words)s)
      ) / cardinality(%(words)s) as score
    from neural_search.documents as d,
      (select extensions.l2_normalize(%(query)s::extensions.vector) as unit) as q
    where d.id <= %(seen)s order by score desc, d.id
"""


@pytest.fixture(scope="module")
def worlds(cluster, template):
    """The same images for the caller, most of them nearly equal or equal, beside different hidden ones."""
    numbers = random.Random(0)
    near = [[1 + numbers.choice([0, 0, 1e-4, 3e-4, 1e-3, 0.01]), *[1.0] * 7] for _ in range(SEEN * 2 // 3)]
    far = [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(SEEN - len(near))]
    names = [
        f"{'red' if n % 2 else 'cat'}/{'blue' if n % 5 == 0 else ''}/{'tree' if n % 7 == 0 else ''}/{n}.png"
        for n in range(SEEN)
    ]
    with ExitStack() as stack:
        made = {}
        for kind, hidden in HIDDEN.items():
            made[kind] = stack.enter_context(clone(cluster, template))
            make_crowd(
                made[kind],
                near + far + [[numbers.gauss(0, 1) for _ in range(8)] for _ in hidden],
                names=names + [f"{name}/h{n}.png" for n, name in enumerate(hidden)],
                owners=[ME] * SEEN + [None] * len(hidden),
            )
            with made[kind].connect() as connection:
                connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
                connection.execute("""
                    create policy own on storage.objects for select to authenticated
                      using (owner_id = (select auth.uid())::text)
                """)
                connection.execute("select neural_search.write_words()")
                connection.execute("vacuum analyze neural_search.words")
        yield made


def differing(database, strategy, cases):
    """The cases whose page isn't the one that sorting all by hand gives."""
    wrong = []
    with database.connect("supabase_admin") as connection:
        connection.execute(
            "update neural_search.models set search_strategy = %s where name = 'tiny'", [strategy]
        )
        for text, weight, count, place, ranked, query in cases:
            asked = {"query": json.dumps(query), "text": text, "weight": weight, "count": count, "seen": SEEN}
            whole = connection.execute(BY_HAND, asked | {"words": text.split()}).fetchall()
            after = None
            if place:
                last_id, score = whole[place - 1]
                after = Jsonb({"score": score, "id": last_id} | ({"rank": place} if ranked else {}))
            with as_role(connection, "authenticated", {"sub": ME}):
                found = connection.execute(SEARCH, asked | {"after": after}).fetchall()
            expected = [document for document, _ in whole[place : place + count]]
            if [document for (document,) in found] != expected:
                wrong.append((text, weight, count, place, ranked, query[0]))
    return wrong


@pytest.mark.parametrize("hidden", HIDDEN)
def test_exact_pages_are_the_same_whatever_is_hidden(worlds, hidden):
    draw = random.Random(1)
    words = ["red", "blue", "tree", "cat"]
    cases = [
        (
            " ".join(draw.sample(words, draw.choice([1, 2, 3]))),
            draw.choice([0.5, 0.01, 0.001, 0.0001, 0.00005]),
            draw.choice([1, 1, 10, 100, 900]),
            draw.choice([0, 50, 1000, 1200, 1200, draw.randrange(SEEN)]),
            draw.random() < 0.3,
            [1 + draw.choice([0, 0, 1e-3, 0.1]), *[1.0] * 7],
        )
        for _ in range(24)
    ]
    assert differing(worlds[hidden], "exact", cases) == []


def test_deep_pages_by_the_index_miss_nothing_that_scores_better(worlds):
    """Without the rank the search doesn't know at first how deep the page lies."""
    draw = random.Random(2)
    query = [draw.gauss(0, 1) for _ in range(8)]
    cases = [("red", 0.01, 1, place, False, query) for place in range(SEEN * 5 // 6, SEEN, 30)]
    assert differing(worlds["none"], "hnsw", cases) == []
