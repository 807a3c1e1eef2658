"""Registering buckets, their state, and the repair of changes that no event announced."""

from __future__ import annotations

import psycopg
import pytest
from support.databases import MODEL, as_role, finish, vector

RECONCILE = "select * from public.reconcile_documents()"
STATUS = "select * from public.index_status() where bucket_id = 'images'"


def state(db, name):
    ((state,),) = db.execute("select state from public.object_states('images', %s)", [[name]])
    return state


def indexed(db, bucket):
    query = "select bucket_id, public_search from neural_search.indexed_buckets where bucket_id = %s"
    return db.execute(query, [bucket]).fetchall()


def make_anew(silent):
    silent.execute("delete from storage.buckets where id = 'images'")
    silent.execute("insert into storage.buckets (id, name) values ('images', 'images')")


def test_registering_a_bucket_queues_what_is_in_it_already(db, silent):
    silent.execute("insert into storage.buckets (id, name) values ('attic', 'attic')")
    silent.execute(
        "insert into storage.objects (bucket_id, name) select 'attic', n from generate_series(1, 3) as n"
    )
    with as_role(db, "service_role"):
        assert db.execute("select public.index_bucket('attic')").fetchone() == (3,)
    assert db.execute("select public.index_bucket('attic')").fetchone() == (0,)


def test_a_bucket_that_isnt_there_cant_be_registered(db):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="There is no bucket 'nowhere'"):
        db.execute("select public.index_bucket('nowhere')")


def test_a_bucket_of_the_future_cant_be_registered_until_its_time_is_corrected(db, silent):
    """A registration holds for no bucket that was made after it."""
    silent.execute("insert into storage.buckets (id, name, created_at) values ('late', 'late', '2999-01-01')")
    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match=r"'late' has the created_at 2999-"
    ) as caught:
        db.execute("select public.index_bucket('late')")
    assert indexed(db, "late") == []
    silent.execute((caught.value.diag.message_hint or "").removeprefix("Correct it: ").encode())
    assert db.execute("select public.index_bucket('late')").fetchone() == (0,)
    assert indexed(db, "late") == [("late", False)]


def test_registering_again_changes_who_may_search(db):
    db.execute("select public.index_bucket('images', true)")
    assert indexed(db, "images") == [("images", True)]
    db.execute("select public.index_bucket('images')")
    assert indexed(db, "images") == [("images", False)]


def test_taking_a_bucket_out_removes_its_documents_and_jobs(db, make_document, make_object):
    make_document(), make_document(), make_object()
    with as_role(db, "service_role"):
        assert db.execute("select public.unindex_bucket('images')").fetchone() == (2,)
    assert db.execute("select count(*) from neural_search.documents").fetchone() == (0,)
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (0,)
    assert db.execute("select count(*) from storage.objects").fetchone() == (3,)


def test_the_status_counts_objects_by_state(db, make_document, make_object):
    make_document(), make_object(), make_object()
    db.execute("select public.claim_embedding_jobs(%s)", [[MODEL]])
    assert db.execute(STATUS).fetchall() == [("images", MODEL, 3, 1, 1, 1, 0, 0)]
    db.execute(
        "update neural_search.jobs set state = case when lease_id is null then 'failed' else 'skipped' end"
    )
    assert db.execute(STATUS).fetchall() == [("images", MODEL, 3, 1, 0, 0, 1, 1)]


def test_reconciling_does_nothing_where_nothing_is_wrong(db, make_document, make_object):
    make_document(), make_object()
    before = db.execute(
        "select xmin from neural_search.documents union all select xmin from neural_search.jobs"
    ).fetchall()
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)
    after = db.execute(
        "select xmin from neural_search.documents union all select xmin from neural_search.jobs"
    ).fetchall()
    assert before == after


# Invariant 2: unrecorded changes are restored. test_job_states.py tries 2, 3 and 4 in any order of events.
def test_an_upload_that_nobody_recorded_is_found(db, silent):
    silent.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'a.png', 'v1')")
    with as_role(db, "service_role"):
        assert db.execute(RECONCILE).fetchone() == (1, 0, 0)
    assert state(db, "a.png") == "pending"


def test_an_overwrite_that_nobody_recorded_is_found(db, silent, make_document):
    make_document("a.png")
    silent.execute("update storage.objects set version = 'v2'")
    assert db.execute(RECONCILE).fetchone() == (1, 1, 0)
    assert db.execute("select version, state from neural_search.jobs").fetchall() == [("v2", "pending")]
    assert db.execute("select count(*) from neural_search.documents").fetchone() == (0,)


def test_an_overwrite_that_nobody_recorded_revives_a_failed_job(db, silent, make_object):
    make_object("a.png")
    db.execute("update neural_search.jobs set state = 'failed', attempts = 5")
    silent.execute("update storage.objects set version = 'v2'")
    assert db.execute(RECONCILE).fetchone() == (0, 1, 0)
    assert db.execute("select version, state, attempts from neural_search.jobs").fetchall() == [
        ("v2", "pending", 0)
    ]


def test_a_move_that_nobody_recorded_is_found(db, silent, make_document):
    make_document("a.png")
    silent.execute("update storage.objects set name = 'b.png'")
    assert db.execute(RECONCILE).fetchone() == (1, 1, 0)


@pytest.mark.parametrize(
    "loss",
    [
        "delete from storage.objects",
        "update storage.objects set is_delete_marker = true",
        "delete from neural_search.buckets",
        "delete from storage.buckets",
    ],
)
def test_what_is_left_of_objects_that_arent_indexed_any_more_is_removed(
    db, silent, make_document, make_object, loss
):
    make_document("a.png"), make_object("b.png")
    silent.execute(loss)
    assert db.execute(RECONCILE).fetchone() == (0, 0, 2)
    assert db.execute("select count(*) from neural_search.documents").fetchone() == (0,)
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (0,)


@pytest.mark.parametrize("reconciled_meanwhile", [True, False])
def test_a_bucket_made_anew_doesnt_inherit_its_registration(db, silent, reconciled_meanwhile):
    silent.execute("delete from storage.buckets")
    if reconciled_meanwhile:
        db.execute(RECONCILE)
    silent.execute("insert into storage.buckets (id, name) values ('images', 'images')")
    silent.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'a.png', 'v1')")
    db.execute(RECONCILE)
    assert indexed(db, "images") == []
    assert state(db, "a.png") == "ignored"


# The uploads, too: else they are embedded and found until the next reconciliation takes them out.
def test_uploads_to_a_bucket_made_anew_make_no_job(db, silent, make_object):
    make_anew(silent)
    make_object("a.png")
    assert state(db, "a.png") == "ignored"
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (0,)
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)


def test_a_bucket_made_anew_is_in_no_report_but_as_unindexed(db, silent):
    make_anew(silent)
    report = "select public.embedding_report()->'unindexed' ? 'images'"
    assert db.execute(report).fetchone() == (True,)
    status = "select count(*) from public.index_status() where bucket_id = 'images'"
    assert db.execute(status).fetchone() == (0,)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="isn't indexed"):
        db.execute("select public.backfill_documents('images')")


def test_a_bucket_made_anew_is_open_to_everybody_only_when_that_is_said_again(db, silent, make_object):
    is_public = (
        "select neural_search.is_public(id, version), neural_search.public_buckets() from storage.objects"
    )
    db.execute("select public.index_bucket('images', true)")
    silent.execute("update storage.buckets set public = true")
    make_object("a.png")
    assert db.execute(is_public).fetchone() == (True, ["images"])
    silent.execute("update storage.buckets set created_at = clock_timestamp() where id = 'images'")
    assert db.execute(is_public).fetchone() == (False, [])
    db.execute("select public.index_bucket('images')")
    assert db.execute(is_public).fetchone() == (False, [])
    db.execute("select public.index_bucket('images', true)")
    assert db.execute(is_public).fetchone() == (True, ["images"])


def test_nothing_is_looked_up_for_everybody_in_a_bucket_that_is_no_longer_public(db, silent):
    """Time would tell the names that are there."""
    db.execute("select public.index_bucket('images', true)")
    assert db.execute("select neural_search.public_buckets()").fetchone() == ([],)
    silent.execute("update storage.buckets set public = true")
    assert db.execute("select neural_search.public_buckets()").fetchone() == (["images"],)


@pytest.mark.parametrize("version", ["the document's", "another"])
def test_a_job_whose_work_is_done_is_removed(db, make_document, version):
    object_id = make_document("a.png")
    db.execute(
        "insert into neural_search.jobs (object_id, model, version, state)"
        " select %s, %s, case when %s = 'another' then 'v0' else object_version end, 'failed'"
        " from neural_search.documents",
        [object_id, MODEL, version],
    )
    assert db.execute(RECONCILE).fetchone() == (0, 1, 0)
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (0,)


def test_a_backfill_queues_just_what_its_dry_run_counts(db, silent, make_object):
    make_object("a.png"), make_object("b.png")
    db.execute("update neural_search.jobs set state = 'failed', attempts = 5, error_class = 'BrokenImage'")
    silent.execute("insert into storage.buckets (id, name) values ('attic', 'attic')")
    silent.execute("insert into storage.objects (bucket_id, name) values ('images', 'c.png')")
    silent.execute("update storage.objects set version = 'v2' where name = 'a.png'")
    silent.execute("update storage.objects set version = 'v2', bucket_id = 'attic' where name = 'b.png'")
    backfill = "select public.backfill_documents(dry_run => %s)"
    assert db.execute(backfill, [True]).fetchone() == (2,)
    assert db.execute(backfill, [False]).fetchone() == (2,)
    assert db.execute(backfill, [True]).fetchone() == (0,)
    [outdated] = db.execute(
        "select j.version, j.state, j.attempts, j.error_class from neural_search.jobs as j"
        " join storage.objects as o on o.id = j.object_id where o.name = 'a.png'"
    ).fetchall()
    assert outdated == ("v2", "pending", 0, None)


def test_reconciling_keeps_terminal_reasons_and_leases(db, make_object):
    make_object(), make_object()
    db.execute("select public.claim_embedding_jobs(%s)", [[MODEL]])
    db.execute("update neural_search.jobs set state = 'skipped' where lease_id is null")
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (2,)


def test_rows_that_somebody_has_locked_are_left_for_next_time(database, db, silent, make_document):
    make_document("a.png")
    silent.execute("update storage.objects set version = 'v2'")
    with database.connect() as other, other.transaction():
        other.execute("select from neural_search.documents for update")
        assert db.execute(RECONCILE).fetchone() == (1, 0, 0)
    assert db.execute(RECONCILE).fetchone() == (0, 1, 0)


def test_a_second_model_is_built_beside_the_active_one(db, make_document):
    object_id = make_document("a.png")
    db.execute("insert into neural_search.models (name, dimensions) values ('tiny', 2)")
    assert db.execute(RECONCILE).fetchone() == (1, 0, 0)
    assert db.execute("select model from public.claim_embedding_jobs('{tiny}')").fetchall() == [("tiny",)]
    version = db.execute("select version from storage.objects").fetchone()[0]
    done = "select public.finish_embedding_job(%s, 'tiny', %s, '[1,0]', '', 1, 1, '')"
    assert db.execute(done, [object_id, version]).fetchone() == ("embedded",)
    db.execute("update neural_search.models set state = 'retired' where name = %s", [MODEL])
    db.execute("update neural_search.models set state = 'active' where name = 'tiny'")
    assert db.execute("select content from public.match_documents('[1,0]')").fetchall() == [("a.png",)]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="the model 'tiny' has 2"):
        db.execute("select public.match_documents(%s)", [vector(1)])


def test_the_scheduled_kick_asks_for_what_is_due(db, make_object):
    db.execute("select vault.create_secret('http://127.0.0.1/', 'neural_search_embed_url')")
    db.execute("select vault.create_secret('secret', 'neural_search_webhook_secret')")
    assert db.execute("select neural_search.kick_due()").fetchone() == (0,)
    object_id = make_object()
    db.execute("delete from net.http_request_queue")
    assert db.execute("select neural_search.kick_due()").fetchone() == (1,)
    assert db.execute("select convert_from(body, 'UTF8')::jsonb from net.http_request_queue").fetchall() == [
        ({"type": "KICK", "wait": False, "limit": 500},)
    ]
    finish(db, object_id, vector(1))
    assert db.execute("select neural_search.kick_due()").fetchone() == (0,)
