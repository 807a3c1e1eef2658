"""Overwrites in versioned buckets: the old row is archived, the new one has an id of its own or the same."""

from __future__ import annotations

import uuid

import pytest
from support.databases import MODEL, finish, vector

ROWS = """
    select d.object_version, 'document' from neural_search.documents d
    union all select j.version, 'job' from neural_search.jobs j
"""
ORDERS = ["archived first", "inserted first"]


@pytest.fixture
def versioned(database):
    """Storage's table without the uniqueness that versions do away with, as its owner."""
    with database.connect("supabase_admin") as platform:
        platform.execute("drop index storage.bucketid_objname")
        platform.execute("alter table storage.objects drop constraint objects_pkey")
        platform.execute("create index on storage.objects (id)")
    with database.connect("supabase_storage_admin") as storage:
        yield storage


@pytest.fixture(params=["a new id", "the same id"])
def new_id(request):
    return lambda object_id: uuid.uuid4() if request.param == "a new id" else object_id


@pytest.fixture
def first(versioned):
    object_id = uuid.uuid4()
    insert(versioned, object_id, "v1")
    return object_id


def insert(storage, object_id, version):
    storage.execute(
        "insert into storage.objects (id, bucket_id, name, version, metadata, is_versioned)"
        " values (%s, 'images', 'a.png', %s, jsonb_build_object('size', 3, 'eTag', %s::text), true)",
        [object_id, version, version],
    )


def archive(storage, object_id, version):
    storage.execute(
        "update storage.objects set archived_at = now() where id = %s and version = %s", [object_id, version]
    )


def overwrite(storage, old_id, new_id, order="archived first"):
    with storage.transaction():
        if order == "inserted first":
            insert(storage, new_id, "v2")
        archive(storage, old_id, "v1")
        if order == "archived first":
            insert(storage, new_id, "v2")


def claimed(db):
    return db.execute(
        "select object_id, version from public.claim_embedding_jobs(%s, 10)", [[MODEL]]
    ).fetchall()


@pytest.mark.parametrize("order", ORDERS)
def test_an_overwrite_takes_the_old_document_out_and_makes_a_job(db, versioned, first, new_id, order):
    finish(db, first, vector(1), "v1")
    overwrite(versioned, first, new_id(first), order)
    assert db.execute(ROWS).fetchall() == [("v2", "job")]


@pytest.mark.parametrize("order", ORDERS)
def test_an_overwrite_replaces_a_job(db, versioned, first, new_id, order):
    overwrite(versioned, first, new_id(first), order)
    assert db.execute(ROWS).fetchall() == [("v2", "job")]


def test_claims_hand_out_the_live_version_alone(db, versioned, first, new_id):
    second = new_id(first)
    overwrite(versioned, first, second)
    assert claimed(db) == [(second, "v2")]


def test_a_claim_by_id_is_of_the_live_version(db, versioned, first, new_id):
    second = new_id(first)
    overwrite(versioned, first, second)
    row = db.execute("select status, version from public.claim_object(%s, %s)", [second, [MODEL]]).fetchone()
    assert row == ("claimed", "v2")


def test_finishing_asks_for_the_live_version(db, versioned, first, new_id):
    second = new_id(first)
    overwrite(versioned, first, second)
    assert finish(db, first, vector(1), "v1") in ("gone", "superseded")
    assert finish(db, second, vector(1), "v2") == "embedded"
    assert db.execute(ROWS).fetchall() == [("v2", "document")]


def test_finishing_waits_for_an_overwrite_that_is_under_way(database, db, versioned, first):
    """With the same id: the row that was waited for is the archived one, and the new one came meanwhile."""
    with database.connect() as worker, versioned.transaction():
        archive(versioned, first, "v1")
        insert(versioned, first, "v2")
        with pytest.raises(Exception, match="lock timeout"):
            finish(worker, first, vector(1), "v1")
    assert finish(db, first, vector(1), "v1") == "superseded"
    assert db.execute(ROWS).fetchall() == [("v2", "job")]


@pytest.mark.parametrize("had", ["a document", "a job"])
def test_reconcile_finds_a_live_version_that_nobody_recorded(db, silent, versioned, first, new_id, had):
    if had == "a document":
        finish(db, first, vector(1), "v1")
    overwrite(silent, first, new_id(first))
    db.execute("select public.reconcile_documents()")
    assert db.execute(ROWS).fetchall() == [("v2", "job")]
    assert db.execute("select * from public.reconcile_documents()").fetchone() == (0, 0, 0)


def test_reports_count_the_live_version_alone(db, versioned, first, new_id):
    overwrite(versioned, first, new_id(first))
    ((counts,),) = db.execute(
        "select (objects, due) from neural_search.backlog where bucket_id = 'images'"
    ).fetchall()
    assert counts == ("1", "1")


def test_an_old_version_that_is_deleted_takes_nothing_with_it(db, versioned, first, new_id):
    second = new_id(first)
    overwrite(versioned, first, second)
    finish(db, second, vector(1), "v2")
    with versioned.transaction():
        versioned.execute("set local storage.allow_delete_query = 'true'")
        versioned.execute("delete from storage.objects where version = 'v1'")
    assert db.execute(ROWS).fetchall() == [("v2", "document")]


def test_search_shows_the_live_version_alone(db, versioned, first, new_id):
    finish(db, first, vector(1), "v1")
    second = new_id(first)
    overwrite(versioned, first, second)
    finish(db, second, vector(1), "v2")
    rows = db.execute("select object_id from public.match_documents(%s)", [vector(1)]).fetchall()
    assert rows == [(second,)]
