"""Documents are read, policies asked and lists made once for all examples, not for each."""

from __future__ import annotations

import json
import math
import random
from operator import mul

import pytest
from support.databases import WIDE_READS, as_role, clone, make_crowd

FEW, MANY, PAGE, EXAMPLES = 200, 3000, 10, 100
LISTED = "select pg_stat_get_xact_tuples_returned('neural_search.documents_tiny_idx'::regclass)"
RECOMMEND = """
    select id, score, similarity, closest from public.recommend_documents(
      likes => %(likes)s, unlikes => %(unlikes)s, strategy => %(strategy)s, match_count => %(count)s,
      similarity_threshold => -1, page_after => %(after)s)
"""


def points(seed: int, count: int, dimensions: int) -> list[list[float]]:
    numbers = random.Random(seed)
    return [[numbers.gauss(0, 1) for _ in range(dimensions)] for _ in range(count)]


def crowd(cluster, template, count: int, dimensions: int):
    with clone(cluster, template) as database:
        make_crowd(
            database,
            points(0, count, dimensions),
            names=[f"{n}.png" for n in range(count)],
            owners=[None] * count,
        )
        yield database


@pytest.fixture(scope="module")
def few(cluster, template):
    """Vectors so long that Postgres keeps them outside of the row."""
    yield from crowd(cluster, template, FEW, 700)


@pytest.fixture(scope="module")
def many(cluster, template):
    yield from crowd(cluster, template, MANY, 4)


def examples(seed: int, dimensions: int, count: int = EXAMPLES, weights=(1,)):
    numbers = random.Random(seed)
    return [
        {"embedding": point, "weight": numbers.choice(weights)} for point in points(seed, count, dimensions)
    ]


def recommend(connection, likes, unlikes=(), strategy="best_score", count=PAGE, after=None):
    asked = {"likes": json.dumps(likes), "unlikes": json.dumps(list(unlikes)), "strategy": strategy}
    return connection.execute(
        RECOMMEND, {**asked, "count": count, "after": after and json.dumps(after)}
    ).fetchall()


@pytest.mark.parametrize(
    ("strategy", "most"), [("best_score", 3 * FEW), ("average", 8 * PAGE)], ids=["best_score", "average"]
)
def test_a_documents_vector_isnt_read_for_each_example(few, strategy, most):
    with few.connect() as connection, as_role(connection, "anon"):
        assert len(recommend(connection, examples(1, 700), strategy=strategy)) == PAGE
        ((reads,),) = connection.execute(WIDE_READS)
    assert reads <= most


def test_policies_arent_asked_about_a_document_for_each_example(few):
    with few.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("create sequence public.asked")
        connection.execute("grant usage on sequence public.asked to anon")
        connection.execute("""
            alter policy "Demo: everybody may use images" on storage.objects
              using (nextval('public.asked') > 0)
        """)
        with as_role(connection, "anon"):
            assert len(recommend(connection, examples(1, 700))) == PAGE
            connection.execute("reset role")
        ((asked,),) = connection.execute("select last_value from public.asked")
    assert asked <= 5 * FEW


def test_lists_are_no_longer_than_the_page_needs(many):
    """A hundred lists of a whole page each would have 75,000 documents."""
    with many.connect() as connection, as_role(connection, "anon"):
        assert len(recommend(connection, examples(1, 4), count=500)) == 500
        ((listed,),) = connection.execute(LISTED)
    assert 0 < listed <= 10_000


def test_equal_examples_make_no_endless_lists(many):
    """They prove no more than one list does, however many they are."""
    with many.connect() as connection, as_role(connection, "anon"):
        found = recommend(connection, examples(1, 4, 1) * EXAMPLES, count=1000)
        ((listed,),) = connection.execute(LISTED)
    assert 100 <= len(found) <= 1000
    assert listed <= 25_000


def expected(documents, likes, unlikes):
    """Every document's score by its definition, the best first."""

    def cosine(first, second):
        return sum(map(mul, first, second)) / math.hypot(*first) / math.hypot(*second)

    def nearest(document, examples):
        return max((e["weight"] * cosine(document, e["embedding"]) for e in examples), default=-math.inf)

    heaviest = max(e["weight"] for e in [*likes, *unlikes])
    scores = []
    for document in documents:
        liked, unliked = nearest(document, likes) / heaviest, nearest(document, unlikes) / heaviest
        best = max(liked, unliked) if likes else unliked
        squashed = 0.5 * (best / (1 + abs(best)) + 1)
        scores.append(squashed if liked > unliked else -squashed)
    return sorted(scores, reverse=True)


CASES = {
    "likes": (examples(2, 4, 7), []),
    "a hundred likes": (examples(3, 4), []),
    "weights": (examples(4, 4, 20, weights=(1, 0.5, 0.9)), []),
    "unlikes beside them": (examples(5, 4, 6), examples(6, 4, 5)),
    "weights on both": (examples(7, 4, 5, weights=(1, 2)), examples(8, 4, 5, weights=(1, 1.5))),
    "an unlike alone": ([], examples(9, 4, 1)),
    "unlikes alone": (
        [], [{"embedding": [1, 0, 0, 0], "weight": 1}, {"embedding": [1, 1, 0, 0], "weight": 2}]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_pages_by_lists_are_those_of_comparing_everything(many, case):
    likes, unlikes = CASES[case]
    scores = expected(points(0, MANY, 4), likes, unlikes)
    with many.connect() as connection, as_role(connection, "anon"):
        found = recommend(connection, likes, unlikes, count=40)
        last = {"score": found[-1][1], "id": found[-1][0], "rank": 40}
        found += recommend(connection, likes, unlikes, count=40, after=last)
        ((listed,),) = connection.execute(LISTED)
    assert listed > 0
    assert [row[1] for row in found] == [pytest.approx(score, abs=1e-6) for score in scores[:80]]
    assert len({row[0] for row in found}) == 80


def test_unlikes_that_cancel_each_other_out_are_compared_all_the_same(few):
    there, back = [1.0] + [0.0] * 699, [-1.0] + [0.0] * 699
    unlikes = [{"embedding": there, "weight": 1}, {"embedding": back, "weight": 1}]
    with few.connect() as connection, as_role(connection, "anon"):
        found = recommend(connection, [], unlikes)
    assert [row[1] for row in found] == [
        pytest.approx(score, abs=1e-6) for score in expected(points(0, FEW, 700), [], unlikes)[:PAGE]
    ]


@pytest.mark.parametrize("likes", [0, 1])
@pytest.mark.parametrize("unlikes", [5, 20])
def test_pages_are_full_where_few_results_can_be_proven_to_be_the_best(many, likes, unlikes):
    """No direction is away from all of the unlikes, and a list around a like ends before them."""
    liked, unliked = examples(4, 4, likes), examples(3, 4, unlikes)
    scores = expected(points(0, MANY, 4), liked, unliked)
    with many.connect() as connection, as_role(connection, "anon"):
        found = recommend(connection, liked, unliked, count=300)
        last = {"score": found[-1][1], "id": found[-1][0], "rank": 300}
        more = recommend(connection, liked, unliked, count=100, after=last)
    assert (len(found), len(more), len({row[0] for row in found + more})) == (300, 100, 400)
    assert [row[1] for row in found + more] == sorted((row[1] for row in found + more), reverse=True)
    assert sum(row[1] >= scores[2 * PAGE] for row in found[:PAGE]) >= PAGE // 2
