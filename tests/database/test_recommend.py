"""recommend_documents, by hand: vectors of two or three numbers, whose similarities are sines and cosines."""

from __future__ import annotations

import json
import math
from typing import Any

import psycopg
import pytest
from support.databases import DIMENSIONS, as_role, vector

RECOMMEND = "select content, similarity, score, closest, duplicates, id from public.recommend_documents"
ME = "00000000-0000-4000-8000-000000000001"


def at(degrees: float) -> tuple[float, float]:
    """A direction in the plane of the first two numbers."""
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def embedding(*leading: float, **more: Any) -> dict[str, Any]:
    return {"embedding": json.loads(vector(*leading)), **more}


def rows(connection, likes=(), unlikes=(), **arguments):
    arguments = {"similarity_threshold": -1.0, **arguments}
    named = "".join(f", {name} => %({name})s" for name in arguments)
    asked = {"likes": json.dumps(list(likes)), "unlikes": json.dumps(list(unlikes)), **arguments}
    asked = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in asked.items()}
    return connection.execute(
        f"{RECOMMEND}(likes => %(likes)s, unlikes => %(unlikes)s{named})", asked
    ).fetchall()


def names(*arguments, **named):
    return [row[0] for row in rows(*arguments, **named)]


@pytest.fixture
def fan(db, make_document):
    """One document at each of these angles, named after it."""

    def make(*angles: float) -> None:
        for angle in angles:
            make_document(f"{angle}", *at(angle))

    return make


@pytest.fixture
def id_of(db):
    return lambda name: db.execute(
        "select id from neural_search.documents where content = %s", [name]
    ).fetchone()[0]


def squashed(similarity: float) -> float:
    return 0.5 * (similarity / (1 + abs(similarity)) + 1)


# average: the middle of the likes, moved away from the unlikes.


def test_average_looks_around_the_middle_of_the_likes(db, fan):
    fan(0, 30, 45, 90)
    likes = [embedding(*at(0)), embedding(*at(90))]
    assert [row[:3] for row in rows(db, likes)] == [
        ("45", pytest.approx(1), pytest.approx(1)),
        ("30", pytest.approx(math.cos(math.radians(15))), pytest.approx(math.cos(math.radians(15)))),
        ("0", pytest.approx(math.cos(math.radians(45))), pytest.approx(math.cos(math.radians(45)))),
        ("90", pytest.approx(math.cos(math.radians(45))), pytest.approx(math.cos(math.radians(45)))),
    ]


def test_average_goes_as_far_beyond_the_likes_as_the_unlikes_are_away(db, make_document):
    make_document("a", 1, 0), make_document("b", 2, -1), make_document("c", 0, -1)
    # (1, 0) + ((1, 0) - (0, 1)) = (2, -1)
    [first, second, third] = rows(db, [embedding(1)], [embedding(0, 1)])
    assert (first[0], first[1]) == ("b", pytest.approx(1))
    assert (second[0], second[1]) == ("a", pytest.approx(2 / math.sqrt(5)))
    assert (third[0], third[1]) == ("c", pytest.approx(1 / math.sqrt(5)))


def test_average_weighs_the_likes(db, make_document):
    make_document("a", 3, 1)
    # 3/4 (1, 0) + 1/4 (0, 1) has the direction of (3, 1)
    likes = [embedding(1, weight=3), embedding(0, 1)]
    assert rows(db, likes)[0][1] == pytest.approx(1)


def test_average_goes_less_far_from_unlikes_that_weigh_less(db, make_document):
    make_document("a", 3, -1)
    # (1, 0) + 1/2 ((1, 0) - (0, 1)) has the direction of (3, -1)
    assert rows(db, [embedding(1)], [embedding(0, 1, weight=0.5)])[0][1] == pytest.approx(1)


def test_average_of_unlikes_alone_is_the_direction_away_from_them(db, fan):
    fan(0, 90, 180)
    found = rows(db, [], [embedding(*at(0))])
    assert [(row[0], row[3]) for row in found] == [("180", None), ("90", None)]  # 0 has a similarity of -1


def test_average_of_examples_that_cancel_out_is_refused(db, fan):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="cancel each other out"):
        rows(db, [embedding(1), embedding(-1)])


# best_score: near to any like, and nearer than to every unlike.


def test_best_score_looks_around_each_like(db, fan):
    fan(0, 30, 45, 90)
    likes = [embedding(*at(0)), embedding(*at(90))]
    found = rows(db, likes, strategy="best_score")
    assert [row[0] for row in found] == ["0", "90", "30", "45"]
    assert [row[2] for row in found] == [
        pytest.approx(squashed(math.cos(math.radians(angle)))) for angle in (0, 0, 30, 45)
    ]


def test_best_score_puts_what_is_nearer_to_an_unlike_last_the_nearest_at_the_end(db, fan):
    fan(10, 40, 50, 80)
    found = rows(db, [embedding(*at(0))], [embedding(*at(90))], strategy="best_score")
    assert [row[0] for row in found] == ["10", "40", "50", "80"]
    assert [row[2] for row in found] == [
        pytest.approx(squashed(math.cos(math.radians(10)))),
        pytest.approx(squashed(math.cos(math.radians(40)))),
        pytest.approx(-squashed(math.cos(math.radians(40)))),  # 50 is 40 away from the unlike
        pytest.approx(-squashed(math.cos(math.radians(10)))),
    ]


def test_best_score_multiplies_similarities_by_weights_relative_to_the_heaviest(db, fan):
    fan(0, 80)
    likes = [embedding(*at(0), weight=1), embedding(*at(80), weight=2)]
    found = rows(db, likes, strategy="best_score")
    assert [(row[0], row[2]) for row in found] == [
        ("80", pytest.approx(squashed(1))),
        ("0", pytest.approx(squashed(0.5))),
    ]


def test_best_score_of_unlikes_alone_begins_with_what_is_farthest_from_all_of_them(db, fan):
    fan(0, 60, 120, 170)
    found = rows(db, [], [embedding(*at(0)), embedding(*at(20))], strategy="best_score")
    # The nearest unlike of each is 0, 40, 100 and 150 degrees away.
    assert [row[0] for row in found] == ["170", "120", "60"]  # 0 is an unlike itself: its similarity is -1
    assert found[0][2] == pytest.approx(-squashed(math.cos(math.radians(150))))
    assert found[0][3] is None


def test_best_score_finds_the_same_as_comparing_everything_with_every_example(db, make_document):
    angles = [(37 * n) % 360 for n in range(60)]
    for angle in angles:
        make_document(f"{angle}", *at(angle))
    likes, unlikes = (0, 140), (20, 160, 250)

    def score(angle: float) -> float:
        liked = max(math.cos(math.radians(angle - like)) for like in likes)
        unliked = max(math.cos(math.radians(angle - unlike)) for unlike in unlikes)
        return squashed(liked) if liked > unliked else -squashed(unliked)

    examples = [embedding(*at(angle)) for angle in likes], [embedding(*at(angle)) for angle in unlikes]
    ranked = sorted(angles, key=score, reverse=True)
    for count in (1, 5, 20):
        found = rows(db, *examples, strategy="best_score", match_count=count)
        assert [row[2] for row in found] == [pytest.approx(score(angle)) for angle in ranked[:count]]


# Requirements of both.


@pytest.mark.parametrize("strategy", ["average", "best_score"])
def test_stored_examples_are_left_out_and_the_page_is_still_full(db, fan, id_of, strategy):
    fan(0, 1, 2, 3, 4, 5)
    likes = [{"id": id_of("0")}, {"id": id_of("1")}]
    found = names(db, likes, strategy=strategy, match_count=3)
    assert sorted(found) == ["2", "3", "4"]
    assert len(names(db, likes, strategy=strategy)) == 4


@pytest.mark.parametrize("strategy", ["average", "best_score"])
def test_each_result_names_its_closest_like(db, fan, strategy):
    fan(10, 80)
    likes = [embedding(*at(90)), embedding(*at(0))]
    found = {row[0]: row[3] for row in rows(db, likes, strategy=strategy)}
    assert found == {"10": 1, "80": 0}


@pytest.mark.parametrize("strategy", ["average", "best_score"])
def test_pages_follow_each_other(db, fan, strategy):
    fan(*range(0, 90, 9))
    asked = {"strategy": strategy, "match_count": 4, "diversity": 0.5}
    likes = [embedding(*at(0)), embedding(*at(60))]
    whole = names(db, likes, **asked | {"match_count": 10})
    assert [names(db, likes, **asked, skip_count=skip) for skip in (0, 4, 8)] == [
        whole[:4],
        whole[4:8],
        whole[8:],
    ]
    assert len(set(whole)) == 10


@pytest.mark.parametrize("strategy", ["average", "best_score"])
def test_threshold_and_filter_narrow_what_is_found(db, fan, strategy):
    fan(0, 30, 80, 120)
    asked = {"likes": [embedding(*at(0))], "strategy": strategy}
    assert names(db, **asked, similarity_threshold=0.5) == ["0", "30"]
    assert names(db, **asked, filter={"prefix": "3"}) == ["30"]


def test_best_score_judges_each_like_by_what_it_was_made_of(db, make_document):
    """With plain levels in place of measured ones: words need less similarity than an image."""
    db.execute("""
        create or replace function neural_search.confidence_levels(
          model text, query_kind text, query extensions.vector
        ) returns table (same double precision, strong double precision, related double precision)
        language sql as $$ select 0.9, 0.8, case query_kind when 'text' then 0.5 else 0.7 end $$
    """)
    across, along = at(50)
    make_document("by the words", across, 0, along), make_document("by the image", 0, across, along)
    likes = [embedding(1, kind="text"), embedding(0, 1, kind="image")]
    levels = db.execute(
        "select content, confidence from public.recommend_documents(%s, strategy => 'best_score')",
        [json.dumps(likes)],
    ).fetchall()
    assert levels == [("by the words", "related"), ("by the image", "unrelated")]


PLAIN_LEVELS = """
    create or replace function neural_search.confidence_levels(
      model text, query_kind text, query extensions.vector
    ) returns table (same double precision, strong double precision, related double precision)
    language sql as $$
      select 0.9, 0.8, case query_kind when 'text' then 0.5 when 'image' then 0.7 else 0.6 end
    $$
"""
JUDGED = "select content, confidence from public.recommend_documents(likes => %s, unlikes => %s"


def test_average_judges_by_what_is_liked_before_anything_is_subtracted(db, make_document):
    db.execute(PLAIN_LEVELS)
    make_document("liked", *at(20)), make_document("beyond", *at(-60))
    asked = [json.dumps([embedding(*at(0))]), json.dumps([embedding(*at(60))])]
    # The query lies at -41 degrees: "beyond" is the nearer, yet nothing like the like.
    found = db.execute(f"{JUDGED}, similarity_threshold => -1)", asked).fetchall()
    assert found == [("beyond", "unrelated"), ("liked", "same")]


def test_an_unlike_makes_no_result_less_sure(db, fan):
    db.execute(PLAIN_LEVELS)
    fan(0, 30, 42)
    like = json.dumps([embedding(*at(0))])
    for unlike in ([], [embedding(*at(45))], [embedding(*at(170))], [embedding(*at(1), weight=100)]):
        found = db.execute(f"{JUDGED}, similarity_threshold => -2)", [like, json.dumps(unlike)]).fetchall()
        assert dict(found) == {"0": "same", "30": "strong", "42": "related"}


@pytest.mark.parametrize(
    ("kinds", "confidence"), [("text", "related"), ("image", "unrelated"), ("mixed", "related")]
)
def test_average_judges_likes_by_what_they_were_made_from(db, make_document, kinds, confidence):
    db.execute(PLAIN_LEVELS)
    make_document("a", *{"text": at(55), "image": at(50), "mixed": at(50)}[kinds])
    likes = [embedding(1, kind="image" if kinds == "mixed" else kinds), embedding(1, kind="text")]
    unlikes = [embedding(0, 0, 1, kind="text" if kinds == "image" else "image")]
    asked = [json.dumps(likes if kinds == "mixed" else likes[:1]), json.dumps(unlikes)]
    assert db.execute(f"{JUDGED})", asked).fetchall() == [("a", confidence)]


def test_beside_unlikes_the_confidence_that_is_asked_for_counts_the_likes_alone(db, fan):
    db.execute(PLAIN_LEVELS)
    fan(*range(-90, -49), 10, 20, 42)
    asked = {"likes": [embedding(*at(0))], "unlikes": [embedding(*at(60))]}
    assert names(db, **asked, min_confidence="related", match_count=2) == ["10", "20"]
    assert names(db, **asked, min_confidence="related", match_count=2, skip_count=2) == ["42"]
    # The first result lies at -50 degrees.
    assert names(db, **asked, best_confidence="unrelated", match_count=1) == ["-50"]
    assert names(db, **asked, best_confidence="related") == []


def test_beside_unlikes_the_first_result_decides_for_every_page(db, fan):
    db.execute(PLAIN_LEVELS)
    fan(-20, -70, -80, 50)
    asked = {"likes": [embedding(*at(0))], "unlikes": [embedding(*at(60))]}
    [first, *_] = rows(db, **asked)
    after = {**asked, "page_after": {"score": first[2], "id": first[5]}}
    assert names(db, **after, best_confidence="strong") == ["-70", "-80", "50"]
    assert names(db, **after, best_confidence="same", filter={"prefix": "-"}) == ["-70", "-80"]
    db.execute("delete from neural_search.documents where content = '-20'")
    assert names(db, **after, best_confidence="strong") == []


@pytest.mark.parametrize("strategy", ["average", "best_score"])
def test_a_query_of_no_kind_is_taken_for_an_image(db, fan, strategy):
    db.execute("""
        create or replace function neural_search.confidence_levels(
          model text, query_kind text, query extensions.vector
        ) returns table (same double precision, strong double precision, related double precision)
        language sql as $$ select 0.9, 0.8, 0.7 where query_kind = 'image' $$
    """)
    fan(0, 50)
    assert names(db, [embedding(1)], strategy=strategy, query_kind=None, min_confidence="strong") == ["0"]


@pytest.mark.parametrize("strategy", ["average", "best_score"])
@pytest.mark.parametrize(
    ("least", "found"), [("same", ["0"]), ("strong", ["0", "30"]), ("unrelated", ["0", "30", "50"])]
)
def test_what_is_less_sure_than_wanted_is_cut_off(db, fan, strategy, least, found):
    db.execute("""
        create or replace function neural_search.confidence_levels(
          model text, query_kind text, query extensions.vector
        ) returns table (same double precision, strong double precision, related double precision)
        language sql as $$ select 0.9, 0.8, 0.7 $$
    """)
    fan(0, 30, 50)
    assert names(db, [embedding(1)], strategy=strategy, min_confidence=least) == found


@pytest.mark.parametrize("strategy", ["average", "best_score"])
@pytest.mark.parametrize("more", [{}, {"diversity": 0.1}])
def test_the_best_result_decides_without_the_examples(db, fan, id_of, strategy, more):
    db.execute("""
        create or replace function neural_search.confidence_levels(
          model text, query_kind text, query extensions.vector
        ) returns table (same double precision, strong double precision, related double precision)
        language sql as $$ select 0.9, 0.8, 0.7 $$
    """)
    fan(0, 30, 50, 60)
    asked = {"strategy": strategy, **more}
    stored = [{"id": id_of("0")}]
    for needed, answered in {None: True, "unrelated": True, "strong": True, "same": False}.items():
        found = ["30", "50", "60"] if answered else []
        assert names(db, stored, **asked, best_confidence=needed) == found
        assert names(db, stored, **asked, best_confidence=needed, skip_count=2) == found[2:]
    assert names(db, [embedding(1)], **asked, best_confidence="same") == ["0", "30", "50", "60"]
    assert names(db, [embedding(1)], **asked, best_confidence="same", filter={"prefix": "5"}) == []
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="best_confidence is"):
        names(db, stored, best_confidence="sure")


def test_diversity_weighs_relevance_against_what_was_chosen_before(db, fan):
    fan(10, 12, -40)
    likes = [embedding(*at(0))]
    assert names(db, likes) == ["10", "12", "-40"]
    # After 10: of 12, 0.5 cos 12 - 0.5 cos 2 = -0.01; of -40, 0.5 cos 40 - 0.5 cos 50 = 0.06.
    assert names(db, likes, diversity=0.5) == ["10", "-40", "12"]
    # With little weight on it, 0.9 cos 12 - 0.1 cos 2 = 0.78 comes before 0.9 cos 40 - 0.1 cos 50 = 0.63.
    assert names(db, likes, diversity=0.1) == ["10", "12", "-40"]


def test_what_is_nearer_to_an_unlike_is_the_least_relevant_even_where_nothing_is_near(db, fan):
    fan(120, 160)
    likes, unlikes = [embedding(*at(0))], [embedding(*at(300))]
    # 120 is 180 away from the unlike and 120 from the like, 160 is 140 away and 160.
    asked = {"strategy": "best_score", "likes": likes, "unlikes": unlikes}
    assert names(db, **asked) == names(db, **asked, diversity=0.01) == ["120", "160"]


def test_full_diversity_looks_only_at_what_was_chosen_before(db, fan):
    fan(10, 12, 95, -100)
    # Beside 10, 95 is least alike with 85 degrees until -100 with 110 is looked at.
    assert names(db, [embedding(*at(0))], diversity=1) == ["10", "-100", "95", "12"]


def test_copies_are_folded_into_the_best_of_them(db, make_document, id_of):
    copy = {"content_hash": "same bytes"}
    make_document("first", *at(10)), make_document("other", *at(50)), make_document("copy", *at(10))
    db.execute(
        "update neural_search.documents set content_hash = %(content_hash)s where content <> 'other'", copy
    )
    found = rows(db, [embedding(*at(0))], collapse="duplicates")
    assert [(row[0], row[4]) for row in found] == [
        ("first", [{"id": id_of("copy"), "bucket": "images", "name": "copy"}]),
        ("other", []),
    ]
    assert [row[4] for row in rows(db, [embedding(*at(0))])] == [[], [], []]


def test_nobody_learns_of_an_example_that_is_hidden_from_them(db, make_document, id_of):
    db.execute('drop policy "Demo: everybody may use images" on storage.objects')
    db.execute("""
        create policy own on storage.objects for select to authenticated
          using (owner_id = (select auth.uid())::text)
    """)
    make_document("mine", 1, 0, owner_id=ME), make_document("mine too", 3, 4, owner_id=ME)
    make_document("theirs", 1, 0)
    mine, theirs = id_of("mine"), id_of("theirs")
    with as_role(db, "authenticated", {"sub": ME}) as me:
        assert names(me, [{"id": mine}]) == ["mine too"]
        with pytest.raises(psycopg.Error, match=f"document {theirs}, which isn't there") as raised:
            rows(me, [{"id": theirs}])
        assert raised.value.sqlstate == "PT404"


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_every_role_may_ask(db, fan, role):
    fan(0)
    with as_role(db, role) as caller:
        for strategy in ("average", "best_score"):
            asked = {"strategy": strategy, "diversity": 0.5, "collapse": "duplicates"}
            assert names(caller, [embedding(1)], [embedding(0, 1)], **asked) == ["0"]


@pytest.mark.parametrize(
    ("likes", "message"),
    [
        ([], "likes and unlikes are 0 in all"),
        ({}, "likes is {}, expected a list"),
        ([7], r"likes\[0\] is 7, expected an object with either id or embedding"),
        ([embedding(1, id=7)], "expected an object with either id or embedding"),
        ([{"id": 7, "wait": 2}], 'has a key "wait"'),
        ([{"id": 1.5}], "id is 1.5"),
        ([{"id": "7"}], "id is 7, expected a document's id"),
        ([embedding(1, weight=0)], "weight is 0, expected a number from 0.001"),
        ([embedding(1, weight=1e-60), embedding(0, 1)], r"weight is 0\.0+1, expected a number from 0.001"),
        ([{"embedding": None}], r"likes\[0\].embedding is null, expected a list of numbers"),
        ([{"embedding": {"a": 1}}], r"likes\[0\].embedding is {.*}, expected a list of numbers"),
        ([embedding(1), {"embedding": [1, 2]}], r"likes\[1\].embedding has 2 dimensions, the model"),
        ([embedding(1, weight="2")], "weight is 2"),
        ([embedding(1, kind="sound")], "kind is sound, expected image or text"),
        ([embedding(0)], r"likes\[0\].embedding is all zeros"),
        ([{"embedding": [1, 2]}], r"likes\[0\].embedding has 2 dimensions, the model"),
        ([{"embedding": "[1, 2]"}], r"likes\[0\].embedding has 2 dimensions, the model"),
        ([embedding(1)] * 101, "likes has 101 examples, expected at most 100"),
    ],
)
def test_examples_that_make_no_sense_are_refused(db, likes, message):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
        db.execute("select * from public.recommend_documents(%s)", [json.dumps(likes)])


@pytest.mark.parametrize("example", [{"embedding": "words"}, {"embedding": "[NaN]"}, {"embedding": []}])
def test_what_is_no_vector_is_refused_as_a_value(db, example):
    with pytest.raises(psycopg.errors.DataError):
        rows(db, [example])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "best"}, 'strategy is "best", expected average or best_score'),
        ({"diversity": 1.5}, "diversity is 1.5"),
        ({"diversity": math.nan}, "diversity is NaN"),
        ({"collapse": "copies"}, 'collapse is "copies"'),
        ({"min_confidence": "sure"}, "min_confidence is"),
        ({"match_count": -1}, "match_count is -1"),
        ({"match_count": 2**31 - 1, "skip_count": 1}, "are 2147483648 in all, expected at most 1000"),
        ({"match_count": 1001}, "are 1001 in all, expected at most 1000"),
        ({"skip_count": 191, "diversity": 0.1}, "are 201 in all, expected at most 200"),
        ({"skip_count": 191, "collapse": "duplicates"}, "are 201 in all, expected at most 200"),
        ({"filter": {"colour": "red"}}, "filter has a key 'colour'"),
        ({"model": "none"}, "model is 'none'"),
        ({"query_kind": "sound"}, "query_kind is 'sound'"),
    ],
)
@pytest.mark.parametrize("strategy", ["average", "best_score"])
def test_arguments_that_make_no_sense_are_refused(db, strategy, arguments, message):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
        rows(db, [embedding(1)], **{"strategy": strategy} | arguments)


def test_examples_are_counted_in_both_lists_before_any_is_read(db):
    unread = {"embedding": "words"}
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="are 101 in all, expected 1 to 100"):
        rows(db, [unread] * 100, [unread])


@pytest.mark.parametrize("example", [{"embedding": [0.1] * 20_000}, {"id": 1, "note": "x" * 1_000_000}])
def test_examples_take_no_more_than_a_hundred_vectors_do(db, example):
    for given in ({"likes": [example] * 50}, {"unlikes": [example] * 50}):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"likes has \d+ bytes, expected"):
            rows(db, **given)
    with_digits = [json.dumps([-0.12345678901234567] * DIMENSIONS)] * 100
    rows(db, [{"embedding": json.loads(each)} for each in with_digits])
    rows(db, [{"embedding": each} for each in with_digits])


EXAMPLES = ['[{"embedding": {"a": [%s]}}]', '[{"id": [%s]}]', "[[%s]]", '{"id": [%s]}']


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize(
    ("number", "count", "message"),
    [
        ("1e131071", 50, r"The JSON in (un)?likes(\[0\])? has a number"),
        ("-1e-16383", 50, r"The JSON in (un)?likes(\[0\])? has a number"),
        ("0e-16383", 50, r"The JSON in (un)?likes(\[0\])? has a number"),
        ("1e308", 9000, r"(un)?likes(\[0\])? has \d+ bytes, expected"),
    ],
)
def test_numbers_that_are_long_as_text_are_refused_before_they_are_text(db, examples, number, count, message):
    text = examples % ",".join([number] * count)
    for given in ("likes => %s::jsonb", "likes => '[]', unlikes => %s::jsonb"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
            db.execute(f"select * from public.recommend_documents({given})".encode(), [text])


# Pages.


def pages(connection, likes, between=lambda: None, **arguments):
    """The names of all results by pages of two, each after the last result of the one before."""
    found, page = [], rows(connection, likes, match_count=2, **arguments)
    while page:
        found += [row[0] for row in page]
        if len(found) == 2:
            between()
        last = {"score": page[-1][2], "id": page[-1][5], "rank": len(found)}
        page = rows(connection, likes, match_count=2, page_after=last, **arguments)
    return found


@pytest.mark.parametrize("strategy", ["average", "best_score"])
def test_pages_repeat_and_miss_nothing_while_others_upload_and_delete(db, fan, strategy):
    fan(0, 10, 20, 30, 40, 50, 60)
    likes = [embedding(*at(0)), embedding(*at(1))]

    def change():
        fan(2, 3, 4, 5, 35)
        db.execute("select set_config('storage.allow_delete_query', 'true', false)")
        db.execute("delete from storage.objects where name = any (array['0', '50'])")

    assert pages(db, likes, change, strategy=strategy) == ["0", "10", "20", "30", "35", "40", "60"]


@pytest.mark.parametrize("strategy", ["average", "best_score"])
def test_equals_are_paged_through_by_id(db, make_document, strategy):
    for name in "abcde":
        make_document(name, 1)
    assert pages(db, [embedding(1), embedding(1)], strategy=strategy) == [*"abcde"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"page_after": {"score": 2, "id": 1}}, 'expected {"score": …, "id": …, "rank": …}'),
        ({"page_after": {"similarity": 0.5, "id": 1}}, 'expected {"score": …'),
        (
            {"page_after": {"score": 0.5, "id": 1}, "diversity": 0.5},
            "beside skip_count, diversity or collapse",
        ),
        ({"page_after": {"score": 0.5, "id": 1}, "skip_count": 1}, "beside skip_count"),
    ],
    ids=str,
)
def test_a_page_that_cant_follow_is_refused(db, arguments, message):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
        rows(db, [embedding(1)], **arguments)


def similar(connection, name, **arguments):
    given = {"name": name, "similarity_threshold": -1.0, **arguments}
    named = ", ".join(f"{key} => %({key})s" for key in given)
    return [row[0] for row in connection.execute(f"select content from similar_documents({named})", given)]


def test_images_like_a_stored_one_are_found_by_its_name_alone(db, make_document):
    make_document("a/one.png", 1), make_document("near.png", 5, 1), make_document("far.png", 1, 5)
    assert similar(db, "a/one.png") == similar(db, "images/a/one.png") == ["near.png", "far.png"]
    assert similar(db, "a/one.png", bucket="images", match_count=1) == ["near.png"]
    assert similar(db, "a/one.png", match_count=1, skip_count=1) == ["far.png"]


def test_a_name_that_means_no_visible_image_or_several_is_refused(db, make_document):
    db.execute("insert into storage.buckets (id, name) values ('attic', 'attic')")
    db.execute("select public.index_bucket('attic')")
    make_document("a.png"), make_document("a.png", bucket="attic"), make_document("b.png", bucket="attic")
    with pytest.raises(psycopg.Error, match=r"name is 'c\.png', which means 0 images") as missing:
        similar(db, "c.png")
    with pytest.raises(psycopg.Error, match=r"name is 'a\.png', which means 2 images") as several:
        similar(db, "a.png")
    assert (missing.value.sqlstate, several.value.sqlstate) == ("PT404", "PT409")
    with as_role(db, "anon"), pytest.raises(psycopg.Error, match="which means 0 images"):
        similar(db, "attic/b.png")
    with as_role(db, "anon"):
        assert similar(db, "a.png") == []


def test_a_bucket_and_path_mean_that_image_and_no_other_of_such_a_path(db, make_document):
    """Or whoever may upload to a bucket that you see ends your calls."""
    db.execute("insert into storage.buckets (id, name) values ('attic', 'attic')")
    db.execute("select public.index_bucket('attic')")
    make_document("b.png", 1, bucket="attic"), make_document("attic/b.png", 1, 1)
    assert similar(db, "attic/b.png") == ["attic/b.png"]
