"""The queue: claiming, finishing, failing, and that no order of events breaks it."""

from __future__ import annotations

import threading
import uuid
from typing import get_args

import psycopg
import pytest
from support.databases import MODEL, as_role, finish, vector

from shared.errors import Outcome

CLAIM = "select object_id, lease_id, attempt from public.claim_embedding_jobs(%s, %s, %s)"


def claim(connection, jobs=1, seconds=120, models=(MODEL,)):
    return connection.execute(CLAIM, [list(models), jobs, seconds]).fetchall()


def claim_object(connection, object_id, models=(MODEL,)):
    return connection.execute(
        "select status, reason, lease_id from public.claim_object(%s, %s)", [object_id, list(models)]
    ).fetchall()


def fail(connection, object_id, lease_id, outcome):
    ((result,),) = connection.execute(
        "select public.fail_embedding_job(%s, %s, %s, %s, 'BrokenImage', 'It is cut off.')",
        [object_id, MODEL, lease_id, outcome],
    )
    return result


def make_due(connection):
    connection.execute("update neural_search.jobs set next_attempt_at = now() - interval '1 second'")


def states(connection):
    return [state for (state,) in connection.execute("select state from public.list_embedding_jobs()")]


def documents(connection):
    return connection.execute("select object_id, object_version from neural_search.documents").fetchall()


def test_a_claim_tells_what_the_worker_needs(db, make_object):
    object_id = make_object("a/b.png", version="v1")
    row = db.execute("select * from public.claim_embedding_jobs(%s)", [[MODEL]]).fetchone()
    *about, lease_id, waited_seconds, _known_hashes = row
    assert about == [object_id, MODEL, "v1", "images", "a/b.png", 3, "image/png", '"v1"', 1]
    assert isinstance(lease_id, uuid.UUID)
    assert waited_seconds >= 0


def test_a_leased_job_is_nobody_elses(db, make_object):
    make_object()
    assert len(claim(db)) == 1
    assert claim(db) == []
    assert states(db) == ["running"]


def test_claims_at_the_same_time_share_the_work(database, make_object):
    objects = {make_object(), make_object()}
    with database.connect() as one, database.connect() as other, one.transaction(), other.transaction():
        claimed = claim(one) + claim(other)
    assert {object_id for object_id, _, _ in claimed} == objects


def test_the_longest_waiting_is_claimed_first(db, make_object):
    first, second = make_object(), make_object()
    assert [object_id for object_id, _, _ in claim(db, jobs=1) + claim(db, jobs=1)] == [first, second]


def test_jobs_of_models_that_arent_loaded_are_left_to_others(db, make_object):
    make_object()
    assert claim(db, models=["another"]) == []
    assert claim(db, models=[]) == []


def test_a_job_whose_object_is_gone_isnt_handed_out(db, make_object):
    db.execute(
        "insert into neural_search.jobs (object_id, model, version) values (gen_random_uuid(), %s, '')",
        [MODEL],
    )
    present = make_object()
    assert [object_id for object_id, _, _ in claim(db, jobs=5)] == [present]


@pytest.mark.parametrize("seconds", [0, -1, 86401, None])
def test_a_lease_that_makes_no_sense_is_refused(db, seconds):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="lease_seconds"):
        claim(db, seconds=seconds)


def test_an_abandoned_job_comes_back_and_is_given_up_at_last(db, make_object):
    make_object()
    for attempt in range(1, 6):
        ((_, _, counted),) = claim(db)
        assert counted == attempt
        make_due(db)
    assert claim(db) == []
    assert db.execute("select state, error_class from public.list_embedding_jobs()").fetchall() == [
        ("failed", "LeaseExpired")
    ]


# Invariant 6: a job that may kill its worker takes nobody along, and one that fails leaves the others be.
def test_what_may_have_killed_its_worker_is_handed_out_alone(db, make_object):
    for _ in range(3):
        make_object()
    assert len(claim(db, jobs=3)) == 3
    make_due(db)
    fresh = make_object()
    make_object()
    assert [len(claim(db, jobs=5)) for _ in range(4)] == [1, 1, 1, 2]
    assert claim_object(db, fresh)[0][0] == "waiting"


def test_an_image_that_kills_its_worker_each_time_costs_the_others_no_attempt(db, make_object):
    """Invariant 6, to the end: the killer is a dead letter with a cause, the others are searchable."""
    killer, *others = [make_object(f"{number}.png") for number in range(4)]
    while claimed := claim(db, jobs=4):
        for object_id, _, attempt in claimed:
            if object_id == killer:
                break  # the worker dies, and with it its claim
            assert attempt <= 2
            assert finish(db, object_id, vector(1)) == "embedded"
        make_due(db)
    assert {object_id for object_id, _ in documents(db)} == set(others)
    assert db.execute(
        "select object_id, state, error_class from public.list_embedding_jobs()"
    ).fetchall() == [(killer, "failed", "LeaseExpired")]


def test_a_dead_letter_that_is_retried_in_vain_is_a_dead_letter_again(db, make_object):
    object_id = make_object()
    for _ in range(2):
        while claimed := claim(db):
            fail(db, object_id, claimed[0][1], "retry")
            make_due(db)
        assert states(db) == ["failed"]
        assert db.execute("select public.retry_embedding_jobs()").fetchone() == (1,)


def test_finishing_writes_the_document_and_removes_the_job(db, make_object):
    object_id = make_object("a.png", version="v1")
    assert finish(db, object_id, vector(1)) == "embedded"
    row = db.execute("""
        select object_id, bucket_id, content, model, object_version, content_hash, width, height, mime_type,
          metadata
        from neural_search.documents
    """).fetchone()
    assert row == (object_id, "images", "a.png", MODEL, "v1", "hash", 2, 3, "image/png", {})
    assert states(db) == []


# Invariant 4: twice, late, out of order or not at all, calls change nothing but the time it takes.
def test_finishing_twice_changes_nothing(db, make_object):
    object_id = make_object()
    assert [finish(db, object_id, vector(1)), finish(db, object_id, vector(0, 1))] == ["embedded"] * 2
    assert db.execute("select embedding = %s from neural_search.documents", [vector(1)]).fetchall() == [
        (True,)
    ]


def test_finishing_late_counts_while_the_version_is_the_same(db, make_object):
    object_id = make_object()
    claim(db)
    make_due(db)
    claim(db)
    assert finish(db, object_id, vector(1)) == "embedded"
    assert states(db) == []


def test_finishing_an_old_version_is_superseded_and_leaves_the_new_job(db, make_object):
    object_id = make_object("a.png", version="v1")
    make_object("a.png", version="v2")
    assert finish(db, object_id, vector(1), version="v1") == "superseded"
    assert (documents(db), states(db)) == ([], ["due"])


def test_finishing_an_object_that_is_gone_leaves_nothing(db):
    assert finish(db, uuid.uuid4(), vector(1), version="v1") == "gone"
    assert documents(db) == []


def test_finishing_after_the_bucket_was_taken_out_is_superseded(db, make_object):
    object_id = make_object()
    db.execute("select public.unindex_bucket('images')")
    assert finish(db, object_id, vector(1)) == "superseded"
    assert documents(db) == []


def test_finishing_repairs_an_overwrite_that_nobody_recorded(database, db, make_object):
    object_id = make_object("a.png", version="v1")
    claim(db)
    with database.connect("supabase_admin") as platform:
        platform.execute("set session_replication_role = 'replica'")  # no triggers
        platform.execute("update storage.objects set version = 'v2'")
    assert finish(db, object_id, vector(1), version="v1") == "superseded"
    assert db.execute("select version, state, lease_id from neural_search.jobs").fetchall() == [
        ("v2", "pending", None)
    ]


def test_a_job_of_another_version_beside_an_up_to_date_document_is_removed(db, make_document):
    object_id = make_document("a.png", version="v2")
    insert = "insert into neural_search.jobs (object_id, model, version) values (%s, %s, 'v1')"
    db.execute(insert, [object_id, MODEL])
    assert finish(db, object_id, vector(1), version="v1") == "superseded"
    assert states(db) == []
    db.execute(insert, [object_id, MODEL])
    assert claim_object(db, object_id)[0][0] == "unchanged"
    assert (documents(db), states(db)) == ([(object_id, "v2")], [])


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ("[1,2,3]", "has 3 dimensions, the model 'efficientnet-lite0-concepts' has 1408"),
        (vector(0), "all zeros"),
    ],
)
def test_an_embedding_that_isnt_one_is_refused(db, make_object, embedding, message):
    object_id = make_object()
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
        finish(db, object_id, embedding)
    assert documents(db) == []


def test_an_unknown_model_is_refused(db, make_object):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="There is no model 'nothing'"):
        db.execute(
            "select public.finish_embedding_job(%s, 'nothing', '', %s, '', 1, 1, '')",
            [make_object(), vector(1)],
        )


# Invariant 3 where two act at once: the second waits, and then knows.
def in_background(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_until_blocked(connection, pid, thread):
    """Until the session that the thread uses waits for the one with this process id."""
    while not connection.execute(
        "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))", [pid]
    ).fetchall():
        assert thread.is_alive(), "it didn't wait"


def test_an_overwrite_under_way_makes_finish_wait_and_then_supersedes_it(database, db, make_object):
    object_id = make_object("a.png", version="v1")
    results = []
    with database.connect("supabase_storage_admin") as uploader, database.connect() as worker:
        with uploader.transaction():
            uploader.execute("update storage.objects set version = 'v2' where id = %s", [object_id])
            finishing = in_background(
                lambda: results.append(finish(worker, object_id, vector(1), version="v1"))
            )
            wait_until_blocked(db, uploader.info.backend_pid, finishing)
        finishing.join(10)
    assert results == ["superseded"]
    assert (documents(db), states(db)) == ([], ["due"])


def test_a_finish_under_way_makes_an_overwrite_wait_which_then_removes_the_document(
    database, db, make_object
):
    object_id = make_object("a.png", version="v1")
    with database.connect("supabase_storage_admin") as uploader, database.connect() as worker:
        with worker.transaction():
            assert finish(worker, object_id, vector(1)) == "embedded"
            overwriting = in_background(
                lambda: uploader.execute(
                    "update storage.objects set version = 'v2' where id = %s", [object_id]
                )
            )
            wait_until_blocked(db, worker.info.backend_pid, overwriting)
        overwriting.join(10)
    assert (documents(db), states(db)) == ([], ["due"])
    assert db.execute("select version from neural_search.jobs").fetchall() == [("v2",)]


def test_a_deletion_under_way_makes_finish_answer_gone(database, db, make_object):
    object_id = make_object("a.png", version="v1")
    results = []
    with database.connect("supabase_storage_admin") as uploader, database.connect() as worker:
        with uploader.transaction():
            uploader.execute("set local storage.allow_delete_query = 'true'")
            uploader.execute("delete from storage.objects where id = %s", [object_id])
            finishing = in_background(
                lambda: results.append(finish(worker, object_id, vector(1), version="v1"))
            )
            wait_until_blocked(db, uploader.info.backend_pid, finishing)
        finishing.join(10)
    assert results == ["gone"]
    assert (documents(db), states(db)) == ([], [])


def test_a_finish_under_way_makes_a_deletion_wait_which_then_removes_the_document(database, db, make_object):
    object_id = make_object("a.png", version="v1")

    def delete():
        with uploader.transaction():
            uploader.execute("set local storage.allow_delete_query = 'true'")
            uploader.execute("delete from storage.objects where id = %s", [object_id])

    with database.connect("supabase_storage_admin") as uploader, database.connect() as worker:
        with worker.transaction():
            assert finish(worker, object_id, vector(1)) == "embedded"
            deleting = in_background(delete)
            wait_until_blocked(db, worker.info.backend_pid, deleting)
        deleting.join(10)
    assert (documents(db), states(db)) == ([], [])


MOVE = "update storage.objects set name = 'b.png', version = 'v2' where id = %s"


def test_a_move_under_way_makes_finish_wait_and_its_job_is_done_under_the_new_version(
    database, db, make_object
):
    object_id = make_object("a.png", version="v1")
    claim(db)
    results = []
    with database.connect("supabase_storage_admin") as uploader, database.connect() as worker:
        with uploader.transaction():
            uploader.execute(MOVE, [object_id])
            finishing = in_background(
                lambda: results.append(finish(worker, object_id, vector(1), version="v1"))
            )
            wait_until_blocked(db, uploader.info.backend_pid, finishing)
        finishing.join(10)
    assert (results, documents(db), states(db)) == (["superseded"], [], ["due"])
    assert finish(db, object_id, vector(1), version="v2") == "embedded"


def test_a_finish_under_way_makes_a_move_wait_which_then_takes_the_document_along(database, db, make_object):
    object_id = make_object("a.png", version="v1")
    with database.connect("supabase_storage_admin") as uploader, database.connect() as worker:
        with worker.transaction():
            assert finish(worker, object_id, vector(1)) == "embedded"
            moving = in_background(lambda: uploader.execute(MOVE, [object_id]))
            wait_until_blocked(db, worker.info.backend_pid, moving)
        moving.join(10)
    assert (documents(db), states(db)) == ([(object_id, "v2")], [])
    assert db.execute("select content from neural_search.documents").fetchall() == [("b.png",)]


@pytest.mark.parametrize(
    "call",
    ["public.finish_embedding_job(%s, %s, 'v1', %s, '', 1, 1, '')", "public.claim_object(%s, array[%s])"],
)
def test_an_upload_doesnt_wait_behind_a_worker_that_waits_for_a_table_of_ours(
    database, db, make_object, call
):
    object_id = make_object("a.png", version="v1")
    values = [object_id, MODEL, vector(1)][: call.count("%s")]
    with database.connect() as blocker, database.connect() as worker, blocker.transaction():
        blocker.execute("lock table neural_search.documents, neural_search.jobs in access exclusive mode")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            worker.execute(f"select {call}", values)
    assert states(db) == ["due"]


@pytest.mark.parametrize("outcome", ["skipped", "failed"])
def test_a_terminal_outcome_keeps_its_cause(db, make_object, outcome):
    object_id = make_object()
    ((_, lease_id, _),) = claim(db)
    assert fail(db, object_id, lease_id, outcome) == outcome
    assert db.execute(
        "select state, error_class, error_message from public.list_embedding_jobs()"
    ).fetchall() == [(outcome, "BrokenImage", "It is cut off.")]
    make_due(db)
    assert claim(db) == []


def test_a_retry_waits_longer_each_time_and_fails_after_the_last_attempt(db, make_object):
    object_id = make_object()
    outcomes, waits = [], []
    for _ in range(5):
        ((_, lease_id, _),) = claim(db)
        outcomes.append(fail(db, object_id, lease_id, "retry"))
        ((wait,),) = db.execute(
            "select extract(epoch from next_attempt_at - now())::float from neural_search.jobs"
        )
        waits.append(wait)
        make_due(db)
    assert outcomes == ["retry"] * 4 + ["failed"]
    for attempt, wait in enumerate(waits[:4], start=1):
        assert 0.45 * 5 * 2**attempt <= wait <= 1.5 * 5 * 2**attempt
    assert claim(db) == []


def test_a_doubtful_failure_is_charged_only_after_half_an_hour_of_them(db, make_object):
    object_id = make_object()
    for faults in range(1, 9):
        [(_, lease_id, attempt)] = claim(db)
        assert (fail(db, object_id, lease_id, "doubtful"), attempt) == ("retry", 1)
        ((found, attempts, wait),) = db.execute(
            "select faults, attempts, extract(epoch from next_attempt_at - now())::float"
            " from neural_search.jobs"
        )
        assert (found, attempts) == (faults, 0)
        least = min(10 * 2 ** (faults - 1), 300)
        assert least - 1 < wait < least * 1.5 + 1
        make_due(db)
    outcomes = []
    while leased := claim(db):
        outcomes.append(fail(db, object_id, leased[0][1], "doubtful"))
        make_due(db)
    assert outcomes == ["retry"] * 4 + ["failed"]


def test_whoever_lost_the_lease_cant_fail_the_job(db, make_object):
    object_id = make_object()
    ((_, lost, _),) = claim(db)
    make_due(db)
    claim(db)
    assert fail(db, object_id, lost, "failed") == "superseded"
    assert states(db) == ["running"]


def test_every_outcome_of_an_error_that_ends_a_job_is_known_here(db, make_object):
    for outcome in set(get_args(Outcome)) - {"release", "wait"}:  # released jobs are no failures
        assert fail(db, make_object(), uuid.uuid4(), outcome) == "superseded"


def test_an_unknown_outcome_is_refused(db, make_object):
    for outcome in ("done", None):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="expected skipped, failed, retry or"):
            fail(db, make_object(), uuid.uuid4(), outcome)


def test_a_released_job_isnt_charged_an_attempt(db, make_object):
    make_object(), make_object()
    leases = [lease_id for _, lease_id, _ in claim(db, jobs=2)]
    assert db.execute(
        "select public.release_embedding_jobs(%s, 30, 'StorageUnavailable', 'down')", [leases]
    ).fetchone() == (2,)
    assert (
        db.execute("select state, attempts, error_class from public.list_embedding_jobs()").fetchall()
        == [("waiting", 0, "StorageUnavailable")] * 2
    )


def test_a_job_that_somebody_has_locked_keeps_no_other_from_being_given_back(database, db, make_object):
    """A deletion holds it for as long as Storage's files take."""
    for _ in range(3):
        make_object()
    (locked, lease, _), *others = claim(db, jobs=3)
    with database.connect("supabase_storage_admin") as deleter, deleter.transaction():
        deleter.execute("set local storage.allow_delete_query = 'true'")
        deleter.execute("delete from storage.objects where id = %s", [locked])
        db.execute("set lock_timeout = '10s'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            fail(db, locked, lease, "retry")
        leases = [lease, *(lease_id for _, lease_id, _ in others)]
        given_back = "select public.release_embedding_jobs(%s, 30, 'StorageUnavailable', 'down')"
        assert db.execute(given_back, [leases]).fetchone() == (2,)
    assert states(db) == ["waiting"] * 2


def test_a_claim_whose_answer_was_lost_is_given_back_by_its_name_without_what_ended_or_was_leased_anew(
    db, make_object
):
    for _ in range(4):
        make_object()
    mine, other = uuid.uuid4(), uuid.uuid4()
    named = "select object_id, lease_id from public.claim_embedding_jobs(%s, %s, claim_id => %s)"
    jobs = db.execute(named, [[MODEL], 3, mine]).fetchall()
    finish(db, jobs[0][0], vector(1))
    db.execute(
        "update neural_search.jobs set lease_id = null, next_attempt_at = now() where object_id = %s",
        [jobs[1][0]],
    )
    assert len(db.execute(named, [[MODEL], 2, other]).fetchall()) == 2
    give_back = "select public.release_embedding_jobs('{}', 0, 'Busy', 'unheard', claim_ids => %s)"
    assert db.execute(give_back, [[mine]]).fetchone() == (1,)
    leased = "select attempts from neural_search.jobs where lease_id is null"
    assert db.execute(leased).fetchall() == [(0,)]
    assert db.execute(give_back, [[mine]]).fetchone() == (0,)


def release(connection, leases, seconds=10):
    """How long each of the jobs has to wait then."""
    connection.execute(
        "select public.release_embedding_jobs(%s, %s, 'StorageUnavailable', 'down')", [leases, seconds]
    )
    waits = connection.execute(
        "select extract(epoch from next_attempt_at - now())::float from neural_search.jobs"
    )
    return [wait for (wait,) in waits.fetchall()]


def test_what_a_fault_gave_back_waits_longer_after_each_up_to_five_minutes(db, make_object):
    make_object(), make_object()
    for least in (10, 20, 40, 80, 160, 300, 300):
        waits = release(db, [lease_id for _, lease_id, _ in claim(db, jobs=2)])
        assert all(least - 1 < wait < least * 1.5 + 1 for wait in waits)
        make_due(db)


def test_what_is_given_back_in_good_order_is_due_at_once_and_no_fault(db, make_object):
    make_object()
    for _ in range(3):
        ((_, lease_id, _),) = claim(db)
        assert release(db, [lease_id], seconds=0)[0] <= 0
    ((_, lease_id, _),) = claim(db)
    assert release(db, [lease_id])[0] < 16


@pytest.mark.parametrize("reset", ["an overwrite", "a retry"])
def test_faults_are_forgotten_with(db, make_object, reset):
    make_object("a.png")
    for _ in range(4):
        ((_, lease_id, _),) = claim(db)
        release(db, [lease_id])
        make_due(db)
    if reset == "an overwrite":
        make_object("a.png")
    else:
        ((object_id, lease_id, _),) = claim(db)
        fail(db, object_id, lease_id, "failed")
        db.execute("select public.retry_embedding_jobs()")
    ((_, lease_id, _),) = claim(db)
    assert release(db, [lease_id])[0] < 16


QUEUED_EARLIER = "update neural_search.jobs set queued_at = queued_at - interval '1 hour'"


def test_a_claim_tells_how_long_the_bytes_have_been_waiting(db, make_object):
    def waited(function, *arguments):
        return db.execute(f"select waited_seconds from public.{function}", arguments).fetchone()[0]

    object_id = make_object("a.png")
    db.execute(QUEUED_EARLIER)
    assert 3600 <= waited("claim_embedding_jobs(%s)", [MODEL]) < 3660
    make_due(db)
    assert 3600 <= waited("claim_object(%s, %s)", object_id, [MODEL]) < 3660
    make_object("a.png")
    assert waited("claim_embedding_jobs(%s)", [MODEL]) < 60


def test_a_document_tells_when_its_bytes_were_queued_and_when_they_became_searchable(db, make_object):
    waited = "select extract(epoch from embedded_at - queued_at)::float from neural_search.documents"
    object_id = make_object("a.png")
    db.execute(QUEUED_EARLIER)
    ((_, lease_id, _),) = claim(db)
    fail(db, object_id, lease_id, "failed")
    db.execute("select public.retry_embedding_jobs()")
    finish(db, object_id, vector(1))
    assert 3600 <= db.execute(waited).fetchone()[0] < 3660
    make_object("a.png")
    finish(db, object_id, vector(1))
    assert db.execute(waited).fetchone()[0] < 60


def test_claim_object_leases_the_objects_job(db, make_object):
    object_id = make_object()
    ((status, reason, lease_id),) = claim_object(db, object_id)
    assert (status, reason) == ("claimed", None)
    assert isinstance(lease_id, uuid.UUID)


def test_claim_object_makes_the_job_that_a_trigger_didnt(db, make_object):
    object_id = make_object()
    db.execute("delete from neural_search.jobs")
    assert claim_object(db, object_id)[0][0] == "claimed"


def test_claim_object_says_why_there_is_nothing_to_do(db, make_object, make_document):
    def status(object_id, models=(MODEL,)):
        ((status, reason, _),) = claim_object(db, object_id, models)
        return status, reason

    assert status(make_document()) == ("unchanged", "The document is up to date.")
    assert status(uuid.uuid4()) == ("gone", "There is no such object.")

    object_id = make_object()
    assert status(object_id, ["another"])[0] == "waiting"
    assert MODEL in status(object_id, ["another"])[1]
    ((_, _, lease_id),) = claim_object(db, object_id)
    assert status(object_id) == ("waiting", "Another worker has it.")
    fail(db, object_id, lease_id, "retry")
    assert status(object_id)[0] == "waiting"
    assert "It is cut off." in status(object_id)[1]
    make_due(db)
    ((_, _, lease_id),) = claim_object(db, object_id)
    fail(db, object_id, lease_id, "skipped")
    assert status(object_id) == ("skipped", "It is cut off.")

    db.execute("select public.unindex_bucket('images')")
    assert status(object_id)[0] == "ignored"


def test_retrying_makes_terminal_jobs_due_by_bucket_and_prefix(db, make_object):
    objects = [make_object("cats/a.png"), make_object("dogs/a.png")]
    for object_id, lease_id, _ in claim(db, jobs=2):
        fail(db, object_id, lease_id, "failed")
    assert db.execute("select public.retry_embedding_jobs('elsewhere')").fetchone() == (0,)
    assert db.execute("select public.retry_embedding_jobs('images', 'cats/')").fetchone() == (1,)
    assert [object_id for object_id, _, _ in claim(db, jobs=5)] == objects[:1]
    assert db.execute("select public.retry_embedding_jobs()").fetchone() == (1,)


def test_jobs_are_listed_by_state(db, make_object):
    make_object("due.png")
    assert db.execute("select name, state from public.list_embedding_jobs('due')").fetchall() == [
        ("due.png", "due")
    ]
    assert db.execute("select name from public.list_embedding_jobs('failed')").fetchall() == []
    assert db.execute("select name from public.list_embedding_jobs(max_rows => 0)").fetchall() == []
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="expected due"):
        db.execute("select public.list_embedding_jobs('broken')")


def test_the_service_role_can_do_a_workers_whole_job(db, make_object):
    make_object()
    with as_role(db, "service_role"):
        ((object_id, _, _),) = claim(db)
        assert finish(db, object_id, vector(1)) == "embedded"


def claimed_names(db, most):
    return [
        name
        for (name,) in db.execute("select name from public.claim_embedding_jobs(%s, %s)", [[MODEL], most])
    ]


def test_uploads_come_before_backfill_however_long_that_waits(db, silent, make_object):
    silent.execute(
        "insert into storage.objects (bucket_id, name, created_at, updated_at)"
        " select 'images', n || '.old', '2020-01-01', '2020-01-01' from generate_series(1, 50) as n"
    )
    db.execute("select public.backfill_documents('images')")
    db.execute("update neural_search.jobs set next_attempt_at = now() - interval '1 hour'")
    make_object("a.png")
    make_object("b.png")
    assert sorted(claimed_names(db, 10)) == ["a.png", "b.png"]
    assert len(claimed_names(db, 10)) == 10
    make_object("c.png")
    assert claimed_names(db, 10) == ["c.png"]


def test_an_overwrite_of_what_waits_in_the_backfill_is_an_upload(db, silent, make_object):
    silent.execute(
        "insert into storage.objects (bucket_id, name, version, created_at, updated_at)"
        " values ('images', 'a.png', 'v1', '2020-01-01', '2020-01-01')"
    )
    db.execute("select public.backfill_documents('images')")
    assert db.execute("select priority from neural_search.jobs").fetchall() == [(1,)]
    make_object("a.png", version="v2")
    assert db.execute("select priority from neural_search.jobs").fetchall() == [(0,)]


LOST = """
insert into storage.objects (bucket_id, name, version, created_at, updated_at) values
  ('images', 'old.png', 'v1', '2020-01-01', '2020-01-01'),
  ('images', 'overwritten.png', 'v2', '2020-01-01', now()), ('images', 'new.png', 'v1', now(), now())
"""


@pytest.mark.parametrize("find", ["reconcile_documents", "backfill_documents"])
def test_an_upload_whose_event_was_lost_comes_before_what_the_bucket_had(db, silent, find):
    silent.execute(LOST)
    db.execute(f"select public.{find}()")
    assert sorted(claimed_names(db, 10)) == ["new.png", "overwritten.png"]
    assert claimed_names(db, 10) == ["old.png"]


def test_what_a_bucket_has_when_it_is_registered_is_backfill(db, silent):
    silent.execute(LOST)
    db.execute("select public.index_bucket('images')")
    assert db.execute("select priority from neural_search.jobs").fetchall() == [(1,)] * 3


def test_what_a_new_model_lacks_is_backfill(db, make_document):
    make_document("a.png")
    db.execute("select public.add_model('other', 4)")
    db.execute("select public.reconcile_documents()")
    assert db.execute("select model, priority from neural_search.jobs").fetchall() == [("other", 1)]


def test_a_document_of_an_older_decoder_is_decoded_again_after_uploads(db, make_document):
    make_document("a.png")
    assert db.execute("select public.backfill_documents(decoder_before => 2)").fetchone() == (1,)
    assert db.execute("select priority from neural_search.jobs").fetchall() == [(1,)]


def test_a_claim_reads_none_of_the_backfill_where_uploads_are_due(db, make_object):
    """By the index, despite statistics from before the backfill."""
    db.execute(
        "insert into neural_search.jobs (object_id, model, version, priority)"
        " select gen_random_uuid(), %s, '', 1 from generate_series(1, 20000)",
        [MODEL],
    )
    plan = "\n".join(
        line
        for (line,) in db.execute(f"""
            explain select from neural_search.jobs j
            where j.state = 'pending' and j.next_attempt_at <= now()
              and j.model = '{MODEL}' and j.priority = 0
            order by j.next_attempt_at, j.object_id limit 10
        """)
    )
    assert "jobs_due_idx" in plan and "Sort" not in plan
    assert "priority = 0" in plan.split("Index Cond")[1]


def test_dead_rows_are_vacuumed_long_before_a_fifth_of_a_table_is_dead(db):
    options = dict(
        db.execute("""
            select relname::text, array_to_string(reloptions, ' ') from pg_class
            where relnamespace = 'neural_search'::regnamespace and relname in ('jobs', 'documents')
        """).fetchall()
    )
    assert "autovacuum_vacuum_scale_factor=0.01" in options["jobs"]
    assert "autovacuum_vacuum_cost_delay=0" in options["jobs"]
    assert "autovacuum_vacuum_scale_factor=0.05" in options["documents"]
