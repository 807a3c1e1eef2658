"""A document's copies of its object's columns follow the object, however that is changed."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb
from support.databases import MODEL, finish, vector

OWN = {
    *("id", "object_id", "model", "embedding", "content_hash", "perceptual_hash", "lsh"),
    *("width", "height", "mime_type", "shown", "decoder_version"),  # of the decoded image
    *("queued_at", "embedded_at", "created_at", "updated_at"),
}
COLUMNS = """
    select attname::text from pg_attribute
    where attrelid = 'neural_search.documents'::regclass and attnum > 0 and not attisdropped
"""
RECONCILE = "select * from public.reconcile_documents()"
# Without a new version: no call of Storage's does that, but SQL does.
CHANGES = {
    "byte_size": ("metadata = metadata || '{\"size\": 9}'", 9),
    "owner_id": ("owner_id = 'somebody'", "somebody"),
    "uploaded_at": ("created_at = '2001-01-01+00'", None),
    "metadata": ('user_metadata = \'{"album": "new"}\'', {"album": "new"}),
}
# A new version or place is more than a copy: test_events.py and test_buckets.py have them.
IDENTITY = {"bucket_id", "content", "object_version"}
LEFT_OUT = {"note": [0] * 6000}


def copied(db, column):
    ((document, original),) = db.execute(f"""
        select d.{column}, c.{column} from neural_search.documents d
        join storage.objects o on o.id = d.object_id cross join neural_search.copied_columns(o) c
    """).fetchall()
    assert document == original
    return document


def copied_names(db):
    ((names,),) = db.execute(
        "select proargnames[2:]::text[] from pg_proc where oid = to_regproc('neural_search.copied_columns')"
    )
    return set(names)


def test_a_column_of_documents_is_its_own_or_copied(db):
    assert {name for (name,) in db.execute(COLUMNS)} == OWN | copied_names(db)


def test_each_copied_column_has_a_test_here(db):
    assert copied_names(db) == CHANGES.keys() | IDENTITY | {"judged_at"}


def test_metadata_that_are_left_out_are_judged_once(db, silent, make_document):
    """A tenant's thousand uploads of many numbers took a reconciliation 28 seconds, each time."""
    make_document("a.png", user_metadata=Jsonb(LEFT_OUT))
    make_document("b.png", user_metadata=Jsonb({"album": "old"}))
    ((definition,),) = db.execute("select pg_get_functiondef('neural_search.has_common_numbers'::regproc)")
    head, _, _ = definition.partition("AS ")
    db.execute(f"{head} as $$ select 1 / 0 = 1 $$")
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)


def test_metadata_that_are_left_out_are_judged_anew_when_they_change(db, silent, make_document):
    make_document("a.png", user_metadata=Jsonb(LEFT_OUT))
    silent.execute('update storage.objects set user_metadata = \'{"album": "new"}\', updated_at = now()')
    assert db.execute(RECONCILE).fetchone() == (0, 1, 0)
    assert copied(db, "metadata") == {"album": "new"}
    db.execute("update storage.objects set user_metadata = %s", [Jsonb(LEFT_OUT)])
    assert copied(db, "metadata") == {}
    db.execute("update storage.objects set last_accessed_at = now()")
    assert copied(db, "judged_at") is not None
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)


@pytest.mark.parametrize(("metadata", "copied_again"), [({"album": "old"}, {"album": "old"}), (LEFT_OUT, {})])
def test_what_an_older_version_copied_is_judged_by_one_reconciliation(
    db, make_document, metadata, copied_again
):
    make_document("a.png", user_metadata=Jsonb(metadata))
    db.execute(
        "update neural_search.documents as d set judged_at = null, metadata = o.user_metadata"
        " from storage.objects as o"
    )
    assert db.execute(RECONCILE).fetchone() == (0, 1, 0)
    assert copied(db, "metadata") == copied_again
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)


@pytest.mark.parametrize("column", CHANGES)
@pytest.mark.parametrize("found_by", ["trigger", "reconciliation"])
def test_a_change_without_a_new_version_is_followed(db, silent, make_document, column, found_by):
    make_document("a.png", owner_id="me", user_metadata=Jsonb({"album": "old"}))
    change, value = CHANGES[column]
    before = copied(db, column)
    if found_by == "trigger":
        db.execute(f"update storage.objects set {change}")
    else:
        silent.execute(f"update storage.objects set {change}")
        assert db.execute(RECONCILE).fetchone() == (0, 1, 0)
        assert db.execute(RECONCILE).fetchone() == (0, 0, 0)
    after = copied(db, column)
    assert after != before
    assert value is None or after == value
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (0,)


def test_a_move_brings_what_was_changed_with_it(db, make_document):
    make_document("a.png")
    db.execute("""
        update storage.objects set name = 'b.png', version = 'moved', owner_id = 'you',
          created_at = '2001-01-01+00', user_metadata = '{"album": "new"}'
    """)
    for column in CHANGES.keys() | IDENTITY:
        copied(db, column)
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (0,)


def test_a_move_leaves_nothing_to_reconcile_where_metadata_are_left_out(db, make_document):
    make_document("a.png", user_metadata=Jsonb(LEFT_OUT))
    db.execute("update storage.objects set name = 'b.png', version = 'moved', updated_at = now()")
    assert copied(db, "content") == "b.png"
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)


def test_search_follows_metadata_and_owner(db, make_document):
    make_document("a.png", owner_id="me", user_metadata=Jsonb({"album": "old"}))
    db.execute("update storage.objects set user_metadata = '{\"album\": \"new\"}', owner_id = 'you'")

    def found(**conditions):
        rows = db.execute(
            "select content, metadata from public.match_documents(%s, filter => %s)",
            [vector(1), Jsonb(conditions)],
        )
        return rows.fetchall()

    assert found(metadata={"album": "new"}) == found(owner="you") == [("a.png", {"album": "new"})]
    assert found(metadata={"album": "old"}) == found(owner="me") == []


@pytest.mark.parametrize(("length", "is_copied"), [(16_384, True), (16_385, False), (1_000_000, False)])
def test_metadata_is_copied_up_to_a_bound(db, silent, make_document, length, is_copied):
    """However well it compresses: a search carries it as it is."""
    metadata = {"note": "x" * (length - len('{"note": ""}'))}
    make_document("a.png", user_metadata=Jsonb(metadata))
    assert copied(db, "metadata") == (metadata if is_copied else {})
    db.execute("update storage.objects set user_metadata = '{}'")
    silent.execute("update storage.objects set user_metadata = %s", [Jsonb(metadata)])
    assert db.execute(RECONCILE).fetchone() == (0, 1, 0)
    assert copied(db, "metadata") == (metadata if is_copied else {})
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)


@pytest.mark.parametrize("number", ["1e131071", "-1e131071", "1e-16383"])
def test_metadata_of_numbers_that_are_long_as_text_is_left_out(db, silent, make_document, number):
    """As jsonb they take some bytes each; as text these would not fit into memory."""
    make_document("a.png")
    silent.execute(
        "update storage.objects"
        " set user_metadata = jsonb_build_object('a', array_fill(%s::numeric, '{9000}'))",
        [number],
    )
    assert db.execute(RECONCILE).fetchone() == (0, 1, 0)
    assert copied(db, "metadata") == {}


def test_metadata_nested_deeper_than_the_stack_is_left_out(db, silent, make_document):
    make_document("a.png")
    nested = "[" * 12_000 + "]" * 12_000
    silent.execute("update storage.objects set user_metadata = %s::jsonb", [nested])
    assert db.execute(RECONCILE).fetchone() == (0, 1, 0)
    assert copied(db, "metadata") == {}


@pytest.mark.parametrize("number", [1.7976931348623157e308, 5e-324, 0.0, -3])
def test_metadata_of_any_double_is_copied(db, make_document, number):
    make_document("a.png", user_metadata=Jsonb({"a": [{"b": number}]}))
    assert float(copied(db, "metadata")["a"][0]["b"]) == number


@pytest.mark.parametrize("size", ["12 KB", 1.5, -1, 1e30, True, {}, [3], None])
def test_a_size_that_is_none_stops_nobodys_work(db, make_object, size):
    """Nobody but Storage writes it, unless a policy lets a user insert rows by SQL."""
    odd = make_object("odd.png", metadata=Jsonb({"size": size, "mimetype": "image/png"}))
    good = make_object("good.png")
    rows = db.execute("select object_id, size from public.claim_embedding_jobs(%s, 10)", [[MODEL]])
    assert dict(rows.fetchall()) == {odd: None, good: 3}
    assert finish(db, odd, vector(1)) == finish(db, good, vector(1)) == "embedded"
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)
    assert db.execute("select size from public.claim_object(%s, %s)", [odd, [MODEL]]).fetchone() == (None,)


def test_values_removed_for_privacy_are_gone(db, make_document):
    make_document("a.png", owner_id="me", user_metadata=Jsonb({"name": "Jane"}))
    db.execute("update storage.objects set user_metadata = null, owner_id = null")
    assert copied(db, "metadata") == {}
    assert copied(db, "owner_id") is None


def test_a_document_that_is_changing_is_reconciled_next_time(database, db, silent, make_document):
    make_document("a.png")
    silent.execute("update storage.objects set owner_id = 'somebody'")
    with database.connect() as other, other.transaction():
        other.execute("select from neural_search.documents for update")
        assert db.execute(RECONCILE).fetchone() == (0, 0, 0)
    assert db.execute(RECONCILE).fetchone() == (0, 1, 0)
