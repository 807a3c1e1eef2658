"""search_documents: the names and the metadata of images, beside their pixels."""

from __future__ import annotations

import json
import random

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.databases import as_role, clone, make_crowd, vector

ME = "00000000-0000-4000-8000-000000000001"
ROWS = 3000


def search(connection, text, *, columns="content", **arguments):
    given = {"query_embedding": vector(1), "query_text": text, "words": 0.5, "similarity_threshold": -1.0}
    arguments = given | arguments
    named = ", ".join(f"{name} => %({name})s" for name in arguments)
    return connection.execute(f"select {columns} from public.search_documents({named})", arguments).fetchall()


def names(connection, text, **arguments):
    return [name for (name,) in search(connection, text, **arguments)]


def words(connection, content, metadata=None):
    rows = connection.execute(
        "select lexeme, source from neural_search.words_of(%s, %s)", [content, Jsonb(metadata or {})]
    )
    return dict(rows.fetchall())


@pytest.fixture
def levels(db):
    db.execute("""
        create or replace function neural_search.confidence_levels(
          model text, query_kind text, query extensions.vector
        ) returns table (same double precision, strong double precision, related double precision)
        language sql stable set search_path = '' as $$ select 0.9::float8, 0.6::float8, 0.3::float8 $$
    """)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("giraffe.jpg", {"giraffe"}),
        ("trips/2024-07 Sri_Lanka/IMG_2034.HEIC", {"trips", "sri", "lanka"}),
        ("oldWindmill/DSCN0042-redBarn.png", {"old", "windmill", "red", "barn"}),
        ("PDFScan12page.tiff", {"pdf", "scan", "page"}),
        ("über/Straße im Winter.webp", {"über", "straße", "im", "winter"}),
        ("Cafe\u0301.jpg", {"caf\u00e9"}),  # as macOS uploads it
        ("写真/犬.png", {"写真", "犬"}),
        ("mr.dog/a%20b$c.jpeg", {"mr", "dog"}),
        ("0001.png", set()),
        ("", set()),
    ],
)
def test_paths_are_split_into_words(db, path, expected):
    assert words(db, path) == dict.fromkeys(expected, 1)


def test_no_more_than_two_hundred_combining_marks_are_put_in_order_at_a_time(db):
    """The time that Postgres takes for it grows with the square of their number."""
    composed = "select neural_search.composed(%s)"
    above, below = "\u0301", "\u0323"  # the latter comes first in the canonical order
    assert db.execute(composed, [f"o{above * 2}{below}"]).fetchone() == (f"\u1ecd{above * 2}",)
    many = db.execute(composed, ["o" + above * 300 + below]).fetchone()
    assert many == ("\u00f3" + above * 199 + below + above * 100,)


def test_characters_that_stand_for_a_sentence_make_a_text_no_longer(db):
    assert db.execute("select length(neural_search.composed(%s))", ["\ufdfa" * 2000]).fetchone() == (2000,)


def test_strings_and_lists_of_strings_are_the_metadata_s_words(db):
    metadata = {"title": "Red Barn", "tags": ["farm", "barnDoor", 7], "nested": {"not": "this"}, "n": 5}
    assert words(db, "barn.png", metadata) == {"barn": 3, "red": 2, "farm": 2, "door": 2}
    assert words(db, "barn.png", ["no", "object"]) == {"barn": 1}


def test_the_longest_path_and_a_megabyte_of_metadata_stay_bounded(db, make_document):
    path = "/".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(256))[:1024]
    letters = [f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}" for n in range(5000)]
    metadata = {"tags": letters * 40, "text": "x" * 800_000}
    make_document(path, user_metadata=Jsonb(metadata))
    ((count, longest),) = db.execute("select count(*), max(length(lexeme)) from neural_search.words")
    assert count == 100 and longest <= 64
    make_document("é" * 1020 + ".png")
    assert db.execute("select count(*) from neural_search.words").fetchone() == (100,)


def test_an_image_is_found_by_its_name_and_by_its_metadata(db, levels, make_document):
    make_document("near.png", 10, 1)
    make_document("zoo/giraffe.png", 1, 1)
    make_document("b.png", 1, 2, user_metadata=Jsonb({"tags": ["Giraffe"]}))
    make_document("far.png", -1, 1)
    columns = "content, round(similarity::numeric, 3)::float, round(score::numeric, 3)::float, found_by"
    assert search(db, "a giraffe", columns=columns) == [
        ("zoo/giraffe.png", 0.707, 1.207, ["image", "name"]),
        ("near.png", 0.995, 0.995, ["image"]),
        ("b.png", 0.447, 0.947, ["image", "metadata"]),
        ("far.png", -0.707, -0.707, ["image"]),
    ]


def test_what_is_unrelated_was_found_by_its_name_alone(db, levels, make_document):
    make_document("giraffe.png", 0, 1), make_document("a.png", 1), make_document("b.png", 1, 20)
    assert search(db, "giraffe", columns="content, confidence, found_by") == [
        ("a.png", "same", ["image"]),
        ("giraffe.png", "unrelated", ["name"]),
        ("b.png", "unrelated", ["image"]),
    ]
    assert names(db, "giraffe", min_confidence="related") == ["a.png"]
    assert names(db, "giraffe", best_confidence="same") == ["a.png", "giraffe.png", "b.png"]
    assert names(db, "giraffe", query_embedding=vector(0, -1), best_confidence="related") == []
    assert names(db, "giraffe", query_embedding=vector(0, 1), best_confidence="same")[0] == "giraffe.png"


def test_the_bonus_is_the_share_of_the_query_s_words(db, make_document):
    for name in ("old red barn.png", "red barn.png", "barn.png", "img_1.png"):
        make_document(name, 1)
    scores = search(db, "an old red barn", columns="content, round(score::numeric, 3)::float", words=0.3)
    assert scores == [("old red barn.png", 1.3), ("red barn.png", 1.2), ("barn.png", 1.1), ("img_1.png", 1.0)]
    assert {score for _, score in search(db, "img 12", columns="content, score")} == {1.0}


def test_without_weight_it_finds_what_match_documents_finds(db, make_document):
    for n in range(5):
        make_document(f"giraffe/{n}.png", 1, n)
    rows = search(db, "giraffe", words=0.0, columns="content, score, found_by")
    found = db.execute("select content, similarity, array['image'] from match_documents(%s, -1)", [vector(1)])
    assert rows == found.fetchall()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(db, share):
    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match=r"words is .*, expected a number from 0 to 1"
    ):
        search(db, "a", words=share)


@pytest.mark.parametrize("after", [{"similarity": 0.5, "id": 1}, {"score": 3, "id": 1}, {"score": 1}])
def test_the_place_of_another_search_is_refused(db, after):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r'expected \{"score": …, "id": …'):
        search(db, "a", page_after=Jsonb(after))


def test_pages_follow_each_other_whatever_is_uploaded_and_deleted_in_between(db, make_document):
    for n in range(12):
        make_document(f"{'giraffe' if n % 3 == 0 else 'lion'} {n}.png", 1, n % 5)
    expected = search(db, "giraffe", columns="content, score, id", match_count=100)
    seen, after = [], None
    for page in range(20):
        rows = search(db, "giraffe", columns="content, score, id", match_count=2, page_after=after)
        if not rows:
            break
        seen += rows
        after = Jsonb({"score": rows[-1][1], "id": rows[-1][2], "rank": len(seen)})
        make_document(f"giraffe new {page}.png", 2, 0.001 * page)  # comes before every page but the first
    assert [row for row in seen if "new" not in row[0]] == expected
    assert search(db, "giraffe", match_count=3, skip_count=2, filter=Jsonb({"prefix": "l"})) == [
        (name,) for name in names(db, "giraffe", match_count=5, filter=Jsonb({"prefix": "l"}))[2:]
    ]


def folded(connection, text, **arguments):
    """Each result's name, with those of its copies."""
    columns = "content, array(select c ->> 'name' from jsonb_array_elements(duplicates) as c)"
    return search(connection, text, columns=columns, **{"collapse": "duplicates", **arguments})


def show(connection, pictures):
    """Documents of these names are copies where they show the same picture."""
    for name, picture in pictures.items():
        connection.execute(
            "update neural_search.documents set content_hash = %s where content = %s", [picture, name]
        )


def test_copies_are_folded_in_the_order_that_words_give(db, levels, make_document):
    make_document("near.png", 10, 1)
    make_document("1.png", 1, 1), make_document("my owl photo.png", 1, 1.1)
    make_document("far.png", -1, 1), make_document("owl far.png", -1, 2)
    owls, strangers = ("1.png", "my owl photo.png"), ("far.png", "owl far.png")
    show(db, {"near.png": "near"} | dict.fromkeys(owls, "owl") | dict.fromkeys(strangers, "far"))
    assert folded(db, "my owl photo") == [
        ("my owl photo.png", ["1.png"]),
        ("near.png", []),
        ("owl far.png", ["far.png"]),
    ]
    assert folded(db, "my owl photo", words=0.0) == [
        ("near.png", []),
        ("1.png", ["my owl photo.png"]),
        ("owl far.png", ["far.png"]),
    ]
    columns = "content, round(score::numeric, 3)::float, found_by"
    assert search(db, "my owl photo", columns=columns, collapse="duplicates", match_count=1) == [
        ("my owl photo.png", 1.173, ["image", "name"])
    ]


def test_results_are_varied_by_the_score_that_words_give(db, make_document):
    make_document("near.png", 1), make_document("near too.png", 1, 0.1), make_document("owl.png", 1, 3)
    assert names(db, "owl", diversity=0.6, words=0.0) == ["near.png", "owl.png", "near too.png"]
    assert names(db, "owl", diversity=0.6, words=1.0) == ["owl.png", "near.png", "near too.png"]
    assert names(db, "owl", diversity=0.01, words=0.0)[0] == "near.png"


@pytest.mark.parametrize("arranged", [{"collapse": "duplicates"}, {"diversity": 0.3}])
def test_pages_of_folded_or_varied_results_hold_everything_once(db, make_document, arranged):
    for n in range(60):  # every third is a copy of the one before
        make_document(
            f"{'owl' if n % 4 == 0 else 'cat'}/{n}.png", 1, n / 20, content_hash=f"{n - (n % 3 == 2)}"
        )
    columns = "content, duplicates"
    whole = search(db, "an owl", columns=columns, match_count=200, **arranged)
    pages = [
        row
        for skip in range(0, 70, 7)
        for row in search(db, "an owl", columns=columns, match_count=7, skip_count=skip, **arranged)
    ]
    told = [name for name, _ in whole] + [copy["name"] for _, copies in whole for copy in copies]
    assert pages == whole and len(told) == len(set(told)) == 60
    assert whole[0][0].startswith("owl/")


@pytest.mark.parametrize(
    ("arranged", "said"),
    [
        ({"diversity": -0.1}, "diversity is -0.1, expected 0 to 1"),
        ({"diversity": float("nan")}, "diversity is NaN, expected 0 to 1"),
        ({"collapse": "all"}, 'collapse is "all", expected duplicates or null'),
        ({"collapse": "duplicates", "match_count": 201}, "expected at most 200"),
        ({"diversity": 0.5, "page_after": Jsonb({"score": 1, "id": 1})}, "page_after is given beside"),
    ],
)
def test_an_arrangement_that_makes_no_sense_is_refused(db, arranged, said):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=said):
        search(db, "a", **arranged)


def test_a_filter_holds_for_words_too(db, make_document):
    (
        make_document("in/giraffe.png", 1, 1),
        make_document("out/giraffe.png", 1, 1),
        make_document("in/b.png", 1),
    )
    assert names(db, "giraffe", filter=Jsonb({"prefix": "in/"})) == ["in/giraffe.png", "in/b.png"]
    assert names(db, "giraffe", filter=Jsonb({"metadata": {"no": 1}})) == []


def test_words_follow_a_move_a_change_of_metadata_and_a_deletion_at_once(db, database, make_document):
    object_id = make_document(
        "a.png", 0, 1, user_metadata=Jsonb({"tags": ["lion"]}), metadata=Jsonb({"eTag": "1", "size": 1})
    )
    make_document("b.png", 1, 20)
    assert names(db, "lion") == ["a.png", "b.png"] and names(db, "giraffe") == ["b.png", "a.png"]
    with database.connect("supabase_storage_admin") as storage:
        with storage.transaction(force_rollback=True):
            storage.execute("update storage.objects set name = 'giraffe.png' where id = %s", [object_id])
        assert own_words(db) == [("lion", 2)]
        storage.execute("update storage.objects set name = 'giraffe.png' where id = %s", [object_id])
        assert own_words(db) == [("giraffe", 1), ("lion", 2)]
        change = "update storage.objects set user_metadata = %s where id = %s"
        storage.execute(change, [Jsonb({"tags": ["zebra"]}), object_id])
        assert own_words(db) == [("giraffe", 1), ("zebra", 2)]
        storage.execute("set storage.allow_delete_query = 'true'")
        storage.execute("delete from storage.objects where id = %s", [object_id])
    assert own_words(db) == []


def own_words(connection):
    return connection.execute("select lexeme, source from neural_search.words order by 1").fetchall()


def test_a_failure_of_words_fails_no_upload(db, make_document):
    db.execute("update neural_search.text_search set configuration = 'gone'")
    make_document("giraffe.png")
    assert own_words(db) == []
    assert names(db, "", words=0.0) == ["giraffe.png"]


def test_a_project_chooses_its_text_search_configuration(db, make_document):
    make_document("running dogs.png", 1, 1)
    assert own_words(db) == [("dogs", 1), ("running", 1)]
    ((count,),) = db.execute("select neural_search.use_text_search('english')")
    assert count == 2 and own_words(db) == [("dog", 1), ("run", 1)]
    make_document("cats.png", 1)
    assert names(db, "a dog runs", words=1.0)[0] == "running dogs.png"
    with pytest.raises(
        psycopg.errors.UndefinedObject, match="configuration is 'klingon', which isn't"
    ) as caught:
        db.execute("select neural_search.use_text_search('klingon')")
    assert "pg_ts_config" in caught.value.diag.message_hint


def crowd_name(n):
    """Half are called red and half blue, a third old, one in 500 rare."""
    old, rare = ("old " if n % 3 == 0 else ""), ("rare" if n % 500 == 0 else "")
    return f"{old}{'red' if n % 2 else 'blue'}/{rare}{n}.png"


@pytest.fixture(scope="module")
def crowd(cluster, template):
    """Thousands of documents, of which the caller owns one in a hundred."""
    numbers = random.Random(0)
    with clone(cluster, template) as database:
        make_crowd(
            database,
            [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(ROWS)],
            names=[crowd_name(n) for n in range(ROWS)],
            owners=[None if n % 100 else ME for n in range(ROWS)],
        )
        with database.connect() as connection:
            connection.execute("select neural_search.write_words()")
            connection.execute("vacuum analyze neural_search.words")
        yield database


def crowd_search(connection, text, columns="content, score, id", **arguments):
    return search(connection, text, columns=columns, query_embedding=json.dumps([1.0] * 8), **arguments)


def named(connection, text):
    """Those that were found by their names."""
    rows = crowd_search(connection, text, columns="content, found_by", match_count=1000, words=1.0)
    return {content for content, found_by in rows if "name" in found_by}


def test_the_service_writes_missing_words_when_it_reconciles(db, make_document):
    make_document("windmill.png")
    db.execute("delete from neural_search.words")
    db.execute("update neural_search.text_search set missing = '[0,1000000)'")
    with as_role(db, "service_role"):
        assert db.execute("select * from public.reconcile_documents()").fetchone() == (0, 0, 0)
    assert db.execute("select lexeme from neural_search.words").fetchall() == [("windmill",)]
    assert db.execute("select isempty(missing) from neural_search.text_search").fetchone() == (True,)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_words_are_found_by_their_index(crowd, role):
    with crowd.connect() as connection, as_role(connection, role):
        assert named(connection, "rare") == {crowd_name(n) for n in range(0, ROWS, 500)}
        ((whole, by_index),) = connection.execute("""
            select pg_stat_get_xact_numscans('neural_search.words'::regclass),
              pg_stat_get_xact_numscans('neural_search.words_pkey'::regclass)
        """)
        assert whole == 0 and by_index > 0


def owners_alone(connection):
    connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
    connection.execute(
        "create policy own on storage.objects for select to authenticated using (owner_id = auth.uid()::text)"
    )


def test_hidden_documents_take_no_place_from_seen_ones(crowd):
    """1,500 are called blue, of which 30 are the caller's: all of those have their bonus."""
    with crowd.connect("supabase_admin") as platform, platform.transaction(force_rollback=True):
        owners_alone(platform)
        platform.execute("set local role authenticated")
        platform.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": ME})])
        assert len(named(platform, "blue")) == ROWS / 100
        words = platform.execute(
            "select count(*), count(distinct document_id) from neural_search.words"
        ).fetchone()
        assert words == (46, 30)


def test_all_pages_hold_everything_once(crowd):
    with crowd.connect() as connection, as_role(connection, "anon"):
        whole = crowd_search(connection, "red rare", match_count=1000)
        assert pages(connection, "red rare", 600) == whole[:600]


def pages(connection, text, count):
    seen, after = [], None
    while len(seen) < count:
        rows = crowd_search(connection, text, match_count=min(100, count), page_after=after)
        seen += rows
        after = Jsonb({"score": rows[-1][1], "id": rows[-1][2], "rank": len(seen)})
    return seen


def by_hand(connection, text):
    """The results for a caller who sees the documents with even ids, without any function of ours."""
    return connection.execute(
        """
        select d.content, 1 - (d.embedding operator(extensions.<=>) %(query)s) + 0.5 * (
          select count(*) from unnest(%(words)s::text[]) as w
          where w = any (regexp_split_to_array(d.content, '[ /0-9.]+'))
        ) / cardinality(%(words)s::text[]) as score, d.id
        from neural_search.documents as d where d.id %% 2 = 0 order by score desc, d.id
        """,
        {"query": json.dumps([1.0] * 8), "words": text.split()},
    ).fetchall()


@pytest.mark.parametrize(
    "text", ["red", "rare", "old", "blue rare", "old blue", "old blue rare", "red old green"]
)
def test_scores_are_exact_however_common_the_words_are(crowd, text):
    with crowd.connect("supabase_admin") as platform, platform.transaction(force_rollback=True):
        expected = by_hand(platform, text)
        platform.execute('drop policy "Demo: everybody may use images" on storage.objects')
        # The documents with even ids have objects with odd numbers.
        platform.execute(
            "create policy half on storage.objects for select to anon using (version::integer % 2 = 1)"
        )
        platform.execute("set local role anon")
        found = pages(platform, text, 300)
    assert [name for name, _, _ in found] == [name for name, _, _ in expected[:300]]
    assert [score for _, score, _ in found] == pytest.approx([score for _, score, _ in expected[:300]])


@pytest.mark.parametrize("text", ["red", "rare", "old blue rare"])
def test_the_nearest_of_all_decides_for_every_page(crowd, text):
    with crowd.connect() as connection, as_role(connection, "anon"):
        ((near,),) = connection.execute(
            "select embedding::text from public.get_embeddings(names => %s)", [[crowd_name(1)]]
        )
        asked = {"query_kind": "image", "match_count": 50, "columns": "content, score, id"}
        whole = search(connection, text, query_embedding=near, **asked | {"match_count": 100})
        asked["best_confidence"] = "same"
        after = Jsonb({"score": whole[49][1], "id": whole[49][2]})
        assert search(connection, text, query_embedding=near, **asked) == whole[:50]
        assert search(connection, text, query_embedding=near, page_after=after, **asked) == whole[50:]
        assert crowd_search(connection, text, query_kind="image", best_confidence="same") == []


@pytest.mark.parametrize("text", ["blue", "old blue", "rare"])
def test_what_is_found_does_not_depend_on_the_words_of_hidden_documents(crowd, text):
    with crowd.connect("supabase_admin") as platform, platform.transaction(force_rollback=True):
        owners_alone(platform)
        found = []
        for change in ("select", "delete from neural_search.words where (document_id - 1) % 100 > 0"):
            platform.execute(change)
            platform.execute("analyze neural_search.words")
            with as_role(platform, "authenticated", {"sub": ME}):
                found.append(pages(platform, text, 30))
                platform.execute("reset role")
    with crowd.connect() as connection:
        connection.execute("analyze neural_search.words")  # which no rollback undoes
    assert found[0] == found[1] and len(found[0]) == 30


def asked_by(connection, text):
    """How often an object was looked up for its policies in a search, and can_see was called."""
    count = """
        select pg_stat_get_xact_numscans('storage.objects_pkey'::regclass),
          coalesce(pg_stat_get_xact_function_calls('neural_search.can_see'::regproc), 0)
    """
    ((scans, calls),) = connection.execute(count)
    found = crowd_search(connection, text, match_count=10, columns="found_by")
    assert len(found) == 10 and all("name" in found_by for (found_by,) in found)
    ((more_scans, more_calls),) = connection.execute(count)
    return more_scans - scans, more_calls - calls


def test_policies_are_asked_about_few_of_the_documents_with_a_common_word(crowd):
    with crowd.connect() as connection, as_role(connection, "anon"):
        scans, calls = asked_by(connection, "red")
    assert scans < 500 and calls == 0


def test_a_word_is_common_or_rare_whatever_the_others_are(crowd):
    """A caller could choose a word so common that a few hidden documents with another tip the scales."""
    with crowd.connect("supabase_admin") as connection:
        rows = connection.execute("""
            select bool_or(r.is_common) as here, bool_and(r.is_common) as there
            from generate_series(1, 8000, 8) as depth
            cross join unnest(array['rare', 'nonsense', 'blue']) as other
            cross join lateral neural_search.rarest_first(array['old', other], depth) as r
            where r.lexeme = 'old' group by depth order by depth
        """).fetchall()
    assert {common for row in rows for common in row} == {True, False}
    assert all(here == there for here, there in rows)


def test_the_nearest_are_looked_for_as_far_beside_rare_words_as_beside_common_ones(crowd):
    """Whether a word is common among hidden documents would show in the results of an approximate index."""
    lines: list[str | None] = []
    with crowd.connect("supabase_admin") as connection:
        connection.execute("set neural_search.explain = 'on'")
        connection.execute("set client_min_messages = 'log'")
        connection.add_notice_handler(lambda notice: lines.append(notice.message_primary))
        first = []
        for text in ("nonsense", "rare", "red", "rare red"):
            lines.clear()
            crowd_search(connection, text, match_count=10)
            first.append(next(line for line in lines if line and "looked for" in line))
    assert len(set(first)) == 1 and "by the way of hnsw" in first[0]


@pytest.mark.parametrize("pair", [("red blue green yellow",) * 2, ("red blue", "green yellow")])
def test_many_equal_pictures_with_the_same_words_take_few_looks(cluster, template, pair):
    """No more than for different ones but for each time that the search goes deeper.

    That no picture has all of the words is looked up once, not at each depth.
    """
    with clone(cluster, template) as database:
        names = [f"{pair[n % 2]}/{n}.png" for n in range(3000)]
        make_crowd(database, [[1.0] * 8] * len(names), names=names, owners=[None] * len(names))
        with database.connect() as connection:
            connection.execute("select neural_search.write_words()")
            connection.execute("vacuum analyze neural_search.words")
        with database.connect("supabase_admin") as platform, platform.transaction():
            platform.execute("set local track_functions = 'all'")
            count = "select pg_stat_get_xact_function_calls('neural_search.find_matches'::regproc)"
            found = crowd_search(platform, "red blue green yellow", match_count=10, columns="id")
            ((looks,),) = platform.execute(count)
    assert found == [(n,) for n in range(1, 11)]
    assert 0 < looks <= 12


def test_where_a_policy_fails_it_is_asked_about_few_documents_one_by_one(crowd):
    with crowd.connect("supabase_admin") as platform, platform.transaction(force_rollback=True):
        platform.execute("set local track_functions = 'all'")
        platform.execute('drop policy "Demo: everybody may use images" on storage.objects')
        # It fails on the document nearest to the query, so that every search comes across it.
        ((nearest,),) = platform.execute(
            "select d.object_version from neural_search.documents as d"
            " order by d.embedding operator(extensions.<=>) %s limit 1",
            [json.dumps([1.0] * 8)],
        )
        platform.execute(f"""
            create policy fails on storage.objects for select to anon
              using (1 / (version::integer - {nearest}) is not null)
        """)
        platform.execute("set local role anon")
        _, calls = asked_by(platform, "red")
        assert 0 < calls < 500


def test_a_policy_that_fails_on_one_object_hides_that_one_alone(crowd):
    with crowd.connect("supabase_admin") as platform, platform.transaction(force_rollback=True):
        platform.execute('drop policy "Demo: everybody may use images" on storage.objects')
        platform.execute("""
            create policy fails on storage.objects for select to anon
              using (1 / (version::integer - 500) is not null)
        """)
        platform.execute("set local role anon")
        assert named(platform, "rare") == {crowd_name(n) for n in (0, 1000, 1500, 2000, 2500)}
