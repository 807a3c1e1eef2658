"""match_documents and its kin: the results, their order, and the permissions."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.databases import as_role, vector

from shared import errors
from shared.search import filters

ME = "00000000-0000-4000-8000-000000000001"
MATCH = "select content, round(similarity::numeric, 4)::float from public.match_documents"

PLAIN_LEVELS = """
    create or replace function neural_search.confidence_levels(
      model text, query_kind text, query extensions.vector
    ) returns table (same double precision, strong double precision, related double precision)
    language sql stable set search_path = '' as
      $$ select 0.9::float8, 0.6::float8, 0.3::float8 where query_kind = 'text' $$
"""


@pytest.fixture
def own_objects_only(db):
    """Callers see their own objects, and anon nothing."""
    db.execute('drop policy "Demo: everybody may use images" on storage.objects')
    db.execute("""
        create policy own on storage.objects for select to authenticated
          using (owner_id = (select auth.uid())::text)
    """)


def found(connection, **arguments):
    arguments = {"query_embedding": vector(1), "similarity_threshold": -1.0, "match_count": 10, **arguments}
    named = ", ".join(f"{name} => %({name})s" for name in arguments)
    return [row[0] for row in connection.execute(f"{MATCH}({named})", arguments)]


def test_the_original_call_finds_the_nearest_first(db, make_document):
    make_document("same.png", 1)
    make_document("near.png", 3, 4)
    make_document("opposite.png", -1)
    rows = db.execute(
        f"{MATCH}(query_embedding => %s, similarity_threshold => 0.5, match_count => 10)", [vector(2)]
    ).fetchall()
    assert rows == [("same.png", 1.0), ("near.png", 0.6)]


def test_every_column_is_told(db, make_document):
    object_id = make_document("a.png", user_metadata=psycopg.types.json.Jsonb({"title": "A"}))
    row = db.execute("select * from public.match_documents(%s)", [vector(1)]).fetchone()
    ((document_id,),) = db.execute("select id from neural_search.documents")
    assert row == (document_id, "a.png", 1.0, "images", object_id, {"title": "A"}, "same")


@pytest.mark.parametrize("length", [1e-30, 1e-9, 1e5, 1e30])
def test_the_length_of_a_query_doesnt_matter(db, make_document, length):
    make_document("a.png", 3, 4)
    assert db.execute(f"{MATCH}(%s)", [vector(length)]).fetchall() == [("a.png", 0.6)]


def test_the_threshold_itself_is_not_above_the_threshold(db, make_document):
    make_document("a.png", 1)
    assert found(db, similarity_threshold=1) == []
    assert found(db, similarity_threshold=0.999) == ["a.png"]


def test_equals_come_in_the_order_of_their_ids(db, make_document):
    names = [f"{n}.png" for n in range(5)]
    for name in names:
        make_document(name, 1)
    assert found(db) == names
    assert found(db, match_count=2, skip_count=2) == names[2:4]


def test_pages_follow_each_other(db, make_document):
    for n in range(6):
        make_document(f"{n}.png", 1, n)
    pages = [found(db, match_count=2, skip_count=skip) for skip in (0, 2, 4, 6)]
    assert pages == [["0.png", "1.png"], ["2.png", "3.png"], ["4.png", "5.png"], []]


def test_counts_are_bounded_and_null_means_the_default(db, make_document):
    for _ in range(11):
        make_document()
    assert len(found(db, match_count=None, skip_count=None, similarity_threshold=None)) == 10
    assert found(db, match_count=0) == []
    for arguments in ({"match_count": 1001}, {"match_count": -1}, {"skip_count": -1}, {"skip_count": 10001}):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"{next(iter(arguments))} is"):
            found(db, **arguments)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("select count(*) from public.object_states('images', %s)", "a.png"),
        ("select count(distinct id) from public.get_embeddings(names => %s)", "a.png"),
        ("select count(distinct id) from public.get_embeddings(%s::bigint[])", None),
    ],
)
def test_a_call_names_a_thousand_documents_at_most(db, make_document, call, named):
    make_document("a.png")
    one = named or db.execute("select id from neural_search.documents").fetchone()[0]
    with as_role(db, "anon"):
        assert db.execute(call, [[one] * 1000]).fetchone() == (1000 if "states" in call else 1,)
    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match="are 1001, expected at most 1000"
    ) as caught:
        db.execute(call, [[one] * 1001])
    assert caught.value.diag.message_hint == "Ask for some at a time."


@pytest.mark.parametrize("call", ["public.object_states('images', %s)", "public.get_embeddings(names => %s)"])
def test_names_take_no_more_than_names_in_storage_may(db, call):
    longest = ["x" * 1020 + f"{n:04}" for n in range(1000)]
    db.execute(f"select from {call}", [longest])
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="expected at most 2000000"):
        db.execute(f"select from {call}", [[name * 2 for name in longest]])


def test_a_refusal_tells_back_the_beginning_of_a_long_text(db):
    for argument in ("model", "query_kind", "min_confidence"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"{argument} is 'x{{100}}'"):
            found(db, **{argument: "x" * 2000})


def test_a_search_can_be_narrowed_to_a_bucket_and_a_prefix(db, make_document):
    db.execute("insert into storage.buckets (id, name) values ('attic', 'attic')")
    db.execute("select public.index_bucket('attic')")
    make_document("cats/a.png"), make_document("cats%/a.png"), make_document("cats/b.png", bucket="attic")
    assert found(db, filter=Jsonb({"bucket": "attic"})) == ["cats/b.png"]
    assert found(db, filter=Jsonb({"prefix": "cats/"})) == ["cats/a.png", "cats/b.png"]
    assert found(db, filter=Jsonb({"prefix": "cats%"})) == ["cats%/a.png"]
    assert found(db, filter=Jsonb({"bucket": "images", "prefix": "cats/"})) == ["cats/a.png"]


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ("[1,2,3]", "query_embedding has 3 dimensions, the model 'efficientnet-lite0-concepts' has 1408"),
        (None, "query_embedding has 0 dimensions"),
        (vector(0), "all zeros"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_even_where_nothing_is_indexed(db, embedding, message):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
        found(db, query_embedding=embedding)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ([], r"filter is \[\], expected an object"),
        ("x" * 1000, 'filter is "x{99}, expected an object'),
        ({"colour": "red"}, "filter has a key 'colour', which there isn't"),
        ({"bucket": 1}, "filter.bucket is 1, expected a string"),
        ({"bucket": None}, "filter.bucket is null, expected a string"),
        ({"prefix": ["a"]}, "filter.prefix is .* expected a string"),
        ({"owner": True}, "filter.owner is true, expected a string"),
        ({"mime_type": ["image/png", 1]}, "filter.mime_type is .* expected a string or a list of some"),
        ({"min_bytes": "1"}, 'filter.min_bytes is "1", expected a whole number'),
        ({"max_bytes": 1.5}, "filter.max_bytes is 1.5, expected a whole number"),
        ({"max_bytes": -1}, "filter.max_bytes is -1, expected a whole number"),
        ({"max_bytes": 2**63}, "filter.max_bytes is .* expected a whole number"),
        ({"min_shown": "1"}, 'filter.min_shown is "1", expected a number from 0 to 1'),
        ({"min_shown": -0.5}, "filter.min_shown is -0.5, expected a number"),
        ({"min_shown": 1.5}, "filter.min_shown is 1.5, expected a number"),
        ({"uploaded_after": "soon"}, "filter.uploaded_after is .* expected a time like"),
        ({"uploaded_before": 2026}, "filter.uploaded_before is 2026, expected a time like"),
        ({"metadata": "tag"}, 'filter.metadata is "tag", expected an object'),
        # Beside 16 KiB of metadata with as many lists, one comparison of 7,000 took six seconds.
        ({"metadata": {"a": [["b"]] * 400}}, r"JSON in filter.metadata has \d+ bytes, expected at most 4096"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_with_the_remedy(db, filter, message):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message) as refused:
        found(db, filter=Jsonb(filter))
    assert refused.value.diag.message_hint


NUMBERS = ["1e131071", "-1e-16383", "0e-16383"]  # nine bytes of JSON, up to 131,072 of text


def test_json_nested_deeper_than_the_stack_is_refused(db):
    nested = '{"metadata": {"a": ' + "[" * 12_000 + "]" * 12_000 + "}}"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="more than 64 levels"):
        db.execute("select * from public.match_documents(%s, filter => %s::jsonb)", [vector(1), nested])


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("json", ['{"metadata": {"a": [%s]}}', '{"bucket": [%s]}', "[%s]"])
@pytest.mark.parametrize("argument", ["filter", "page_after"])
def test_numbers_that_are_long_as_text_are_refused_before_they_are_text(db, argument, json, number):
    text = json % ",".join([number] * 50)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"The JSON in {argument} has a number"):
        db.execute(
            f"select * from public.match_documents(%s, {argument} => %s::jsonb)".encode(), [vector(1), text]
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"page_after": Jsonb([])}, "page_after is"),
        ({"page_after": Jsonb(1)}, "page_after is 1"),
        ({"page_after": Jsonb({"id": 1})}, "page_after is"),
        ({"page_after": Jsonb({"id": "1", "similarity": 1})}, "page_after is"),
        ({"page_after": Jsonb({"id": 1.5, "similarity": 1})}, "page_after is"),
        ({"page_after": Jsonb({"id": 1, "similarity": 2})}, "page_after is"),
        ({"page_after": Jsonb({"id": 1, "similarity": 1, "rank": -1})}, "page_after is"),
        ({"page_after": Jsonb({"id": 1, "similarity": 1, "rank": 20_000})}, "rank is 20000, expected 0"),
        ({"similarity_threshold": float("nan")}, "similarity_threshold is NaN"),
        ({"model": "unheard-of"}, "model is 'unheard-of', expected one that is active or standby"),
        ({"query_kind": "sound"}, "query_kind is 'sound', expected image, text or mixed"),
        ({"min_confidence": "high"}, "min_confidence is 'high', expected same, strong, related or unrelated"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_the_remedy(db, arguments, message):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message) as refused:
        found(db, **arguments)
    assert refused.value.diag.message_hint


def test_what_a_filter_says_cant_break_out_of_the_statement(db, make_document):
    make_document("a.png")
    evil = "x' or true; drop table neural_search.documents; --\\"
    narrows = [{key: evil} for key in ("bucket", "prefix", "owner", "mime_type")]
    for narrow in [*narrows, {"mime_type": [evil, '"}']}, {"metadata": {evil: evil}}]:
        assert found(db, filter=Jsonb(narrow)) == []
    assert db.execute("select count(*) from neural_search.documents").fetchone() == (1,)


def test_a_filter_has_the_keys_in_sql_that_the_query_function_takes(db):
    keys = [key for (key,) in db.execute("select key from neural_search.filter_keys()").fetchall()]
    assert sorted(keys) == sorted(filters.KEYS), "each needs a row in supabase/sql/filter.sql:filter_keys"


def test_a_search_can_be_narrowed_by_what_is_known_of_a_file(db, make_document):
    make_document("a.png", 3, 4, owner_id=ME, user_metadata=Jsonb({"title": "A", "tags": ["x", "y"]}))
    make_document("b.png", 1)
    db.execute("""
        update neural_search.documents set
          mime_type = 'image/gif', byte_size = 9, uploaded_at = '2026-01-02T00:00Z', shown = 0.6666667
        where content = 'b.png'
    """)
    for narrow, expected in [
        ({"owner": ME}, ["a.png"]),
        ({"mime_type": "image/gif"}, ["b.png"]),
        ({"mime_type": ["image/gif", "image/png"]}, ["b.png", "a.png"]),
        ({"max_bytes": 3}, ["a.png"]),
        ({"min_bytes": 4, "max_bytes": 9}, ["b.png"]),
        ({"min_bytes": 4.0, "max_bytes": 9.0}, ["b.png"]),
        ({"uploaded_after": "2026-01-02T00:00Z", "uploaded_before": "2026-01-02T01:00+01:00"}, []),
        ({"uploaded_after": "2026-01-02T00:00Z", "uploaded_before": "2026-01-02T01:01+01:00"}, ["b.png"]),
        ({"min_shown": 1}, ["a.png"]),
        ({"min_shown": 0.67}, ["a.png"]),
        ({"min_shown": 0.6666667}, ["b.png", "a.png"]),
        ({"min_shown": 1e-300}, ["b.png", "a.png"]),
        ({"metadata": {"title": "A"}}, ["a.png"]),
        ({"metadata": {"tags": ["y"]}, "prefix": "a"}, ["a.png"]),
        ({"metadata": {"title": "B"}}, []),
    ]:
        assert found(db, filter=Jsonb(narrow)) == expected, narrow


def test_the_rows_of_a_model_on_standby_can_be_searched_by_its_name(db, make_document):
    make_document("a.png")
    db.execute("insert into neural_search.models (name, dimensions) values ('small', 2)")
    db.execute("""
        insert into neural_search.documents (object_id, bucket_id, content, model, embedding, object_version)
        select object_id, bucket_id, content, 'small', '[3,4]', object_version from neural_search.documents
    """)
    rows = db.execute(f"{MATCH}('[1,0]', model => 'small')").fetchall()
    assert rows == [("a.png", 0.6)]
    db.execute("update neural_search.models set state = 'retired' where name = 'small'")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="expected one that is active or standby"):
        found(db, query_embedding="[1,0]", model="small")


def test_results_are_cut_off_by_their_confidence(db, make_document):
    db.execute(PLAIN_LEVELS)
    for name, leading in {"a": (1,), "b": (3, 4), "c": (1, 3), "d": (0, 1)}.items():
        make_document(name, *leading)
    call = """
        select content, confidence
        from public.match_documents(%s, -1, query_kind => %s, min_confidence => %s)
    """
    everything = [("a", "same"), ("b", "strong"), ("c", "related"), ("d", "unrelated")]
    for least, count in {None: 4, "unrelated": 4, "related": 3, "strong": 2, "same": 1}.items():
        assert db.execute(call, [vector(1), "text", least]).fetchall() == everything[:count]
    # Without levels nothing can be told, so nothing is cut off.
    assert db.execute(call, [vector(1), "image", "same"]).fetchall() == [
        (name, None) for name, _ in everything
    ]


def test_the_best_result_decides_and_then_all_results_come(db, make_document):
    db.execute(PLAIN_LEVELS)
    for name, leading in {"b": (3, 4), "c": (1, 3), "d": (0, 1)}.items():
        make_document(name, *leading)
    for needed in (None, "unrelated", "related", "strong"):
        assert found(db, query_kind="text", best_confidence=needed) == ["b", "c", "d"]
    assert found(db, query_kind="text", best_confidence="same") == []
    assert found(db, query_kind="text", best_confidence="strong", min_confidence="related") == ["b", "c"]
    # Without levels nothing can be told, so nothing is held back.
    assert found(db, query_kind="image", best_confidence="same") == ["b", "c", "d"]
    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match="best_confidence is 'high', expected same"
    ):
        found(db, best_confidence="high")


@pytest.mark.parametrize("strategy", ["hnsw", "exact"])
def test_the_best_result_decides_for_every_page(db, make_document, strategy):
    db.execute(PLAIN_LEVELS)
    db.execute("update neural_search.models set search_strategy = %s", [strategy])
    for n in range(6):
        make_document(f"{n}", 1, n)
    asked = {"query_kind": "text", "match_count": 2}
    ids = dict(db.execute("select content, id from neural_search.documents").fetchall())
    for page_after in (
        {"similarity": 1 / 17**0.5, "id": ids["4"], "rank": 5},
        {"similarity": 1 / 17**0.5, "id": ids["4"]},
    ):
        after = {**asked, "page_after": Jsonb(page_after)}
        assert found(db, **after, best_confidence="same") == ["5"]
        assert found(db, **after, best_confidence="same", query_embedding=vector(0, 0, 1)) == []
    assert found(db, **asked, skip_count=4, best_confidence="same") == ["4", "5"]
    assert found(db, **asked, skip_count=1000, best_confidence="same") == []
    db.execute("delete from neural_search.documents where content = '0'")  # the best is 0.71 now
    assert found(db, **asked, skip_count=2, best_confidence="same") == []
    assert found(db, **asked, skip_count=2, best_confidence="strong") == ["3", "4"]


@pytest.mark.parametrize("filter", [{"prefix": "other"}, {"metadata": {"kind": "other"}}])
def test_the_best_result_is_the_best_within_the_filter(db, make_document, filter):
    db.execute(PLAIN_LEVELS)
    make_document("best", 1)
    make_document("other", 1, 3, user_metadata=Jsonb({"kind": "other"}))
    asked = {"query_kind": "text", "best_confidence": "strong"}
    assert found(db, **asked) == ["best", "other"]
    assert found(db, **asked, filter=Jsonb(filter)) == []
    assert found(db, **{**asked, "best_confidence": "related"}, filter=Jsonb(filter)) == ["other"]


def test_a_result_that_the_caller_cant_see_decides_nothing(db, own_objects_only, make_document):
    db.execute(PLAIN_LEVELS)
    make_document("theirs", 1)
    make_document("mine", 1, 3, owner_id=ME)
    make_document("mine too", 1, 4, owner_id=ME)
    asked = {"query_kind": "text", "best_confidence": "strong"}
    assert found(db, **asked) == ["theirs", "mine", "mine too"]  # as who sees everything
    with as_role(db, "authenticated", {"sub": ME}):
        assert found(db, **asked) == found(db, **asked, skip_count=1) == []
        assert found(db, **{**asked, "best_confidence": "related"}, skip_count=1) == ["mine too"]
        assert found(db, query_kind="text") == ["mine", "mine too"]


def test_a_search_without_an_active_model_says_so(db):
    db.execute("update neural_search.models set state = 'retired'")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="No model is active"):
        found(db)


def test_the_settings_of_the_session_are_restored(db, make_document):
    make_document()
    db.execute("set hnsw.ef_search = 77")
    db.execute("set jit = on")
    names = [
        *("neural_search.prepared", "storage.operation", "enable_sort", "jit", "plan_cache_mode"),
        "request.method",
        *("hnsw.ef_search", "hnsw.iterative_scan", "hnsw.max_scan_tuples", "hnsw.scan_mem_multiplier"),
    ]

    def settings() -> list[tuple[str]]:
        current = "select coalesce(current_setting(name, true), '') from unnest(%s::text[]) as name"
        return db.execute(current, [names]).fetchall()

    before = settings()
    with db.transaction():
        assert len(found(db)) == 1
        assert settings() == before


def test_a_fresh_session_of_any_role_can_search(database, make_document):
    make_document()
    for role in ("anon", "authenticated", "service_role"):
        with database.connect("authenticator") as connection, as_role(connection, role):
            connection.execute("set transaction read only")
            assert len(found(connection)) == 1
            assert len(found(connection, filter=Jsonb({"bucket": "images", "max_bytes": 9}))) == 1


# Invariant 5: nobody learns of an object that the policies hide, by no function.
def test_callers_find_what_the_policies_on_objects_show_them(db, own_objects_only, make_document):
    make_document("mine.png", owner_id=ME)
    make_document("theirs.png", owner_id=str(uuid.uuid4()))
    with as_role(db, "authenticated", {"sub": ME}):
        assert found(db) == ["mine.png"]
        assert db.execute("select content from neural_search.documents").fetchall() == [("mine.png",)]
        assert db.execute(
            "select content from public.get_embeddings(names => '{mine.png,theirs.png}')"
        ).fetchall() == [("mine.png",)]
    with as_role(db, "anon"):
        assert found(db) == []
        assert db.execute("select content from neural_search.documents").fetchall() == []
    with as_role(db, "service_role"):
        assert len(found(db)) == 2


def test_a_public_buckets_names_stay_secret_unless_it_was_registered_with_public_search(
    db, own_objects_only, make_document
):
    make_document("a.png")
    db.execute("update storage.buckets set public = true")
    with as_role(db, "anon"):
        assert found(db) == []
    db.execute("select public.index_bucket('images', true)")
    with as_role(db, "anon"):
        assert found(db) == ["a.png"]
    db.execute("update storage.buckets set public = false")
    with as_role(db, "anon"):
        assert found(db) == []


def test_policies_that_ask_what_storage_is_doing_work(db, make_document):
    db.execute('drop policy "Demo: everybody may use images" on storage.objects')
    db.execute("""
        create policy download on storage.objects for select to anon
          using (storage.operation() = 'storage.object.get_authenticated')
    """)
    make_document("a.png")
    with as_role(db, "anon"):
        assert found(db) == ["a.png"]
        db.execute("select set_config('storage.operation', 'storage.object.list', true)")
        assert found(db) == ["a.png"]
        assert db.execute("select storage.operation()").fetchone() == ("storage.object.list",)


@pytest.mark.parametrize("fails", [False, True])
def test_policies_read_the_method_of_a_download(db, make_document, fails):
    """By each way to ask them; PostgREST sets that of its own request."""
    db.execute('drop policy "Demo: everybody may use images" on storage.objects')
    failing = "and case when name = 'bad.png' then name::uuid is null else true end" if fails else ""
    db.execute(f"""
        create policy reading on storage.objects for select
          using (current_setting('request.method', true) = 'GET' and owner_id = auth.uid()::text {failing})
    """)
    for name, owner in {"mine.png": ME, "bad.png": ME, "theirs.png": str(uuid.uuid4())}.items():
        make_document(name, owner_id=owner)
    mine = ["mine.png"] if fails else ["bad.png", "mine.png"]
    states = "select name from public.object_states('images', %s) where state = 'searchable' order by 1"
    embeddings = "select content from public.get_embeddings(names => %s) order by 1"
    names = ["mine.png", "bad.png", "theirs.png"]
    for role, claims, seen in (("authenticated", {"sub": ME}, mine), ("anon", {}, [])):
        with as_role(db, role, claims):
            db.execute("select set_config('request.method', 'POST', true)")
            for call in (states, embeddings):
                assert [name for (name,) in db.execute(call, [names])] == seen
            assert sorted(found(db)) == seen
            assert len(db.execute("select neural_search.visible_objects()").fetchall()) == len(seen)
            assert db.execute("select current_setting('request.method')").fetchone() == ("POST",)


def test_searches_leave_no_claim_in_a_session_that_had_none(database, db, own_objects_only, make_document):
    """Its next caller's functions read them: an empty one is another than none."""
    make_document("mine.png", owner_id=ME)
    with database.connect() as session:
        with as_role(session, "authenticated", {"sub": ME}):
            assert found(session) == ["mine.png"]
            session.execute("select public.object_states('images', '{mine.png}')")
        for claim in ("sub", "role"):
            read = "select current_setting('request.jwt.claim.' || %s, true)"
            assert session.execute(read, [claim]).fetchone() == (None,)


def test_policies_that_read_the_setting_itself_work_in_a_session_without_it(database, db, make_document):
    """The planner asks for it before any object is looked at."""
    db.execute('drop policy "Demo: everybody may use images" on storage.objects')
    db.execute("""
        create policy download on storage.objects for select to anon
          using (bucket_id = case current_setting('storage.operation')
            when 'storage.object.get_authenticated' then 'images' end)
    """)
    make_document("a.png")
    with database.connect() as fresh, as_role(fresh, "anon"):
        assert found(fresh) == ["a.png"]


@pytest.mark.parametrize(
    "policy",
    [
        "(storage.foldername(name))[1]::uuid = (select auth.uid())",
        "owner_id = (select u from (values (auth.uid()::text), (name)) as v (u))",
        "public.is_mine(owner_id, name)",
    ],
    ids=["a name that is no uuid", "a second row", "an exception"],
)
def test_an_object_that_a_policy_chokes_on_is_seen_by_nobody_and_spoils_no_search(
    db, make_document, make_object, policy
):
    db.execute("""
        create function public.is_mine(owner text, name text) returns boolean language plpgsql as $$
        begin
          if owner is null then raise exception '% has no owner', name; end if;
          return owner = auth.uid()::text;
        end $$
    """)
    make_document(f"{ME}/mine.png", owner_id=ME)
    make_document("secret/theirs.png")
    db.execute('drop policy "Demo: everybody may use images" on storage.objects')
    db.execute(f"create policy own on storage.objects for select to authenticated using ({policy})")
    with as_role(db, "authenticated", {"sub": ME}):
        assert "secret/theirs.png" not in found(db)
        assert db.execute("select from neural_search.documents where content like 'secret%'").fetchall() == []
        assert db.execute(
            "select state from public.object_states('images', '{secret/theirs.png}')"
        ).fetchall() == [("unknown",)]


def test_a_bucket_made_anew_under_an_old_name_isnt_searched_by_everybody(
    db, silent, own_objects_only, make_document
):
    """Not even by rows from before, until the reconciliation comes."""
    make_document("a.png")
    db.execute("select public.index_bucket('images', true)")
    silent.execute(
        "update storage.buckets set public = true, created_at = clock_timestamp() where id = 'images'"
    )
    with as_role(db, "anon"):
        assert found(db) == []
    db.execute("select public.index_bucket('images', true)")
    with as_role(db, "anon"):
        assert found(db) == ["a.png"]


# Invariant 3: for every caller, and though no event was recorded. Finish and change at once: test_jobs.py.
@pytest.mark.parametrize("role", ["anon", "service_role", "postgres"])
@pytest.mark.parametrize(
    "change",
    [
        "delete from storage.objects",
        "update storage.objects set version = 'other'",
        "update storage.objects set archived_at = now()",
        "update storage.objects set is_delete_marker = true",
    ],
)
def test_nobody_finds_what_is_gone_or_has_other_bytes_though_nobody_recorded_it(
    db, silent, make_document, role, change
):
    make_document("a.png")
    silent.execute(change)
    with as_role(db, role):
        assert found(db) == []
        assert db.execute("select * from public.get_embeddings(names => '{a.png}')").fetchall() == []


def test_a_model_name_cant_break_out_of_the_statement(db, make_document):
    make_document("a.png")
    name = "x' or true; drop table neural_search.documents; --"
    db.execute("update neural_search.models set state = 'retired'")
    db.execute(
        "insert into neural_search.models (name, dimensions, state) values (%s, 1408, 'active')", [name]
    )
    assert found(db) == []
    assert db.execute("select count(*) from neural_search.documents").fetchone() == (1,)


def test_the_active_model_is_told_to_all_callers(db):
    for role in ("anon", "authenticated", "service_role"):
        with as_role(db, role):
            assert db.execute("select * from public.active_model()").fetchall() == [
                ("efficientnet-lite0-concepts", 1408)
            ]


def test_embeddings_are_found_by_id_by_path_and_by_bucket_and_path(db, make_document):
    make_document("cats/a.png"), make_document("b.png")
    ids = dict(db.execute("select content, id from neural_search.documents").fetchall())

    def contents(**arguments):
        named = ", ".join(f"{name} => %({name})s" for name in arguments)
        return [r[0] for r in db.execute(f"select content from public.get_embeddings({named})", arguments)]

    assert contents(document_ids=[ids["b.png"]]) == ["b.png"]
    assert contents(names=["cats/a.png"]) == contents(names=["images/cats/a.png"]) == ["cats/a.png"]
    assert contents(document_ids=list(ids.values()), names=["b.png"]) == ["cats/a.png", "b.png"]
    assert contents(names=["b.png"], bucket="attic") == contents(names=["attic/b.png"]) == []
    assert contents() == []
    assert (
        db.execute("select embedding from public.get_embeddings(names => '{b.png}')")
        .fetchone()[0]
        .startswith("[1,0")
    )


def test_embeddings_of_an_unknown_model_are_refused_whatever_the_caller_names(
    db, own_objects_only, make_document
):
    """Refused only where a document is found, it would tell of those that are there."""
    make_document("mine.png", owner_id=ME), make_document("theirs.png")
    for names in (["mine.png"], ["theirs.png"], ["none.png"], [], None):
        with (
            pytest.raises(psycopg.errors.InvalidParameterValue, match="model is 'none'"),
            as_role(db, "authenticated", {"sub": ME}),
        ):
            db.execute("select from public.get_embeddings(names => %s, model => 'none')", [names])


def test_callers_learn_how_far_their_objects_are_and_nothing_of_others(
    db, own_objects_only, make_document, make_object
):
    make_document("done.png", owner_id=ME)
    make_object("waiting.png", owner_id=ME)
    skipped = make_object("skipped.png", owner_id=ME)
    make_document("theirs.png")
    db.execute(
        """
        update neural_search.jobs
        set state = 'skipped', error_class = 'NotAnImage', error_message = 'No image.' where object_id = %s
        """,
        [skipped],
    )
    names = ["theirs.png", "done.png", "waiting.png", "skipped.png", "nothing.png"]
    with as_role(db, "authenticated", {"sub": ME}):
        rows = db.execute(
            "select name, state, reason from public.object_states('images', %s)", [names]
        ).fetchall()
    hidden = "There is no such object, or you may not see it."
    assert rows == [
        ("theirs.png", "unknown", hidden),
        ("done.png", "searchable", None),
        ("waiting.png", "pending", None),
        ("skipped.png", "skipped", "No image."),
        ("nothing.png", "unknown", hidden),
    ]


def test_callers_learn_why_of_an_images_own_faults_alone(db, make_object):
    """Other faults' words hold addresses, paths and settings: they are for the operator."""
    told = {*errors.kinds(errors.ImageError), errors.DecoderStalled, errors.InvalidObjectName}
    causes = {error.__name__: error in told for error in errors.kinds(errors.NeuralSearchError)}
    causes |= {"RuntimeError": False, "LeaseExpired": True}
    for cause in causes:
        make_object(cause)
    db.execute("""
        update neural_search.jobs as j set error_class = o.name, error_message = 'words'
        from storage.objects as o where o.id = j.object_id
    """)
    with as_role(db, "anon"):
        states = "select name, reason from public.object_states('images', %s)"
        reasons = dict(db.execute(states, [[*causes]]).fetchall())
    withheld = "The last attempt failed ({}). The project's operator sees why in `neural-search jobs`."
    assert reasons == {
        cause: "words" if is_told else withheld.format(cause) for cause, is_told in causes.items()
    }


def test_not_even_the_functions_behind_object_states_tell_of_hidden_objects(
    db, own_objects_only, make_document
):
    make_document("theirs.png")
    with as_role(db, "authenticated", {"sub": ME}):
        for function in ("find_seen", "find_public"):
            found_by_name = db.execute(f"select * from neural_search.{function}('images', '{{theirs.png}}')")
            assert found_by_name.fetchall() == []


def test_everybody_learns_how_far_the_objects_of_public_search_are(db, own_objects_only, make_object):
    db.execute("update storage.buckets set public = true where id = 'images'")
    db.execute("select public.index_bucket('images', true)")
    make_object("new.png")
    with as_role(db, "anon"):
        states = db.execute("select state from public.object_states('images', '{new.png}')").fetchall()
    assert states == [("pending",)]


def test_objects_in_other_buckets_are_said_to_be_ignored(db, make_object):
    db.execute("insert into storage.buckets (id, name) values ('attic', 'attic')")
    make_object("a.png", bucket="attic")
    assert db.execute("select state from public.object_states('attic', '{a.png}')").fetchall() == [
        ("ignored",)
    ]
