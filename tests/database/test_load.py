"""Many images at once: due jobs are read through their index, and many jobs are not many calls."""

from __future__ import annotations

import pytest
from support.databases import MODEL, clone

OBJECTS = 3000
UNRECORDED = "select unrecorded from neural_search.backlog where bucket_id = 'images'"
CLAIM = "select count(*) from public.claim_embedding_jobs(%s, 20)"
# Scans of whole tables, and entries read from the index of due jobs, by this session's transaction.
READ = """
select pg_stat_get_xact_numscans('neural_search.jobs'::regclass)
  + pg_stat_get_xact_numscans('storage.objects'::regclass),
  pg_stat_get_xact_tuples_returned('neural_search.jobs_due_idx'::regclass)
"""


@pytest.fixture(scope="module")
def burst(cluster, template):
    """Thousands of images that came at once, after the statistics of an empty project."""
    with clone(cluster, template) as database:
        with database.connect("supabase_admin") as platform:
            platform.execute("analyze neural_search.jobs, storage.objects")
            platform.execute("set session_replication_role = 'replica'")
            platform.execute(
                "insert into storage.objects (bucket_id, name, version)"
                " select 'images', n || '.png', n from generate_series(1, %s) as n",
                [OBJECTS],
            )
            platform.execute("select public.backfill_documents()")
        yield database


@pytest.fixture
def with_function(db):
    db.execute("select vault.create_secret('http://127.0.0.1/', 'neural_search_embed_url')")
    db.execute("select vault.create_secret('secret', 'neural_search_webhook_secret')")


def kicks(connection):
    return connection.execute("select count(*) from net.http_request_queue").fetchone()[0]


@pytest.mark.parametrize("statistics", ["of an empty table", "up to date"])
def test_a_claim_reads_no_more_than_it_takes(burst, statistics):
    with burst.connect() as connection:
        if statistics == "up to date":
            with burst.connect("supabase_admin") as platform:
                platform.execute("analyze neural_search.jobs, storage.objects")
        with connection.transaction(force_rollback=True):
            assert connection.execute(CLAIM, [[MODEL]]).fetchone() == (20,)
            whole_tables, entries = connection.execute(READ).fetchone()
    assert whole_tables == 0
    assert entries <= 50


def test_a_reconciliation_reads_whole_tables_a_fixed_number_of_times(burst):
    with burst.connect() as connection, connection.transaction(force_rollback=True):
        assert connection.execute("select * from public.reconcile_documents()").fetchone() == (0, 0, 0)
        assert connection.execute(READ).fetchone()[0] < 30


def test_registering_a_large_bucket_takes_a_bounded_step_and_the_schedule_does_the_rest(database, db):
    with database.connect("supabase_admin") as platform:
        platform.execute("set session_replication_role = 'replica'")
        platform.execute("""
            insert into storage.objects (bucket_id, name, version)
            select 'images', n || '.png', n from generate_series(1, 10500) as n
        """)
    assert db.execute("select public.index_bucket('images')").fetchone() == (10000,)
    assert db.execute(
        "select unrecorded from neural_search.backlog where bucket_id = 'images'"
    ).fetchone() == (500,)
    assert db.execute("select missing from public.reconcile_documents()").fetchone() == (500,)
    assert db.execute(
        "select unrecorded from neural_search.backlog where bucket_id = 'images'"
    ).fetchone() == (0,)


def test_a_hundred_thousand_waiting_images_are_not_a_hundred_thousand_calls(db, with_function):
    db.execute(
        "insert into neural_search.jobs (object_id, model, version)"
        " select gen_random_uuid(), %s, '' from generate_series(1, 100000)",
        [MODEL],
    )
    assert db.execute("select neural_search.kick_due()").fetchone() == (4,)
    assert kicks(db) == 4
    for _ in range(30):
        db.execute("select neural_search.kick_due()")
    assert kicks(db) == 4


def test_a_burst_of_uploads_kicks_three_times_before_anything_is_answered(database, db, with_function):
    with database.connect("supabase_storage_admin") as storage:
        storage.execute(
            "insert into storage.objects (bucket_id, name)"
            " select 'images', n from generate_series(1, 300) as n"
        )
    assert kicks(db) == 3
    assert db.execute("select due from neural_search.backlog where bucket_id = 'images'").fetchone() == (300,)


def test_what_a_fault_gave_back_isnt_kicked_before_its_time(db, make_object, with_function):
    for _ in range(3):
        make_object()
    db.execute("delete from net.http_request_queue")
    for _ in range(3):
        db.execute(
            "select public.release_embedding_jobs(array_agg(lease_id), 10, 'StorageUnavailable', 'down')"
            " from public.claim_embedding_jobs(%s, 3)",
            [[MODEL]],
        )
        assert db.execute("select neural_search.kick_due()").fetchone() == (0,)
        assert kicks(db) == 0
        db.execute("update neural_search.jobs set next_attempt_at = now()")
    assert db.execute("select neural_search.kick_due()").fetchone() == (1,)


def test_the_few_jobs_in_a_state_are_listed_without_walking_through_all_objects(database, db, make_object):
    failed = make_object("failed.png")
    db.execute("update neural_search.jobs set state = 'failed', error_class = 'BrokenImage'")
    with database.connect("supabase_admin") as platform:
        platform.execute("set session_replication_role = 'replica'")
        platform.execute(
            "insert into storage.objects (bucket_id, name, version)"
            " select 'images', n || '.png', n from generate_series(1, %s) as n",
            [OBJECTS],
        )
        platform.execute("analyze neural_search.jobs, storage.objects")
    with db.transaction():
        rows = db.execute("select object_id from public.list_embedding_jobs('failed')").fetchall()
        read = db.execute("""
            select pg_stat_get_xact_numscans('storage.objects'::regclass),
              pg_stat_get_xact_tuples_fetched('storage.objects'::regclass)
        """).fetchone()
    assert rows == [(failed,)]
    assert read[0] <= 1  # for delete markers and old versions
    assert read[1] < 10


def test_what_compares_all_objects_may_take_longer_than_a_search(db):
    """PostgREST raises its own time-out, 8 seconds where the project is hosted, to a function's."""
    rows = db.execute("""
        select proname from pg_proc
        where pronamespace = 'public'::regnamespace and 'statement_timeout=60s' = any(proconfig) order by 1
    """).fetchall()
    assert [name for (name,) in rows] == [
        "activate_model",
        "backfill_documents",
        "embedding_report",
        "index_status",
        "list_embedding_jobs",
        "list_models",
        "reconcile_documents",
        "remove_model",
        "retry_embedding_jobs",
    ]
