"""Is every image searchable, and if not, why? The reports, and the backfill of unrecorded objects."""

from __future__ import annotations

import psycopg
import pytest
from support.databases import MODEL, as_role, finish, vector

BACKLOG = "objects, searchable, due, waiting, running, skipped, failed, unrecorded"


@pytest.fixture
def one_of_each(db, silent, make_object, make_document):
    """Objects by the state that they are in."""
    ids = {state: make_object(f"{state}.png") for state in ("skipped", "failed", "waiting", "running")}
    claimed = db.execute("select object_id, lease_id from public.claim_embedding_jobs(%s, 9)", [[MODEL]])
    leases = dict(claimed.fetchall())
    for state, outcome in (("skipped", "skipped"), ("failed", "failed"), ("waiting", "retry")):
        db.execute(
            "select public.fail_embedding_job(%s, %s, %s, %s, %s, 'It is cut off.')",
            [ids[state], MODEL, leases[ids[state]], outcome, f"{outcome.title()}Error"],
        )
    ids["searchable"], ids["due"] = make_document("searchable.png"), make_object("due.png")
    silent.execute("""
        insert into storage.objects (bucket_id, name, version) values ('images', 'unrecorded.png', 'v1');
        insert into storage.buckets (id, name) values ('attic', 'attic')
    """)
    return ids


def listed(db, *arguments):
    return db.execute(
        "select object_id, name, model, state, error_class"
        " from public.list_embedding_jobs(%s, %s, %s, %s, %s, %s)",
        [*arguments, *[None] * (6 - len(arguments))],
    ).fetchall()


def test_every_image_that_isnt_searchable_is_listed_with_its_state_and_cause(db, one_of_each):
    with as_role(db, "service_role"):
        rows = listed(db)
    assert {name: (state, cause) for _, name, _, state, cause in rows} == {
        "due.png": ("due", None),
        "failed.png": ("failed", "FailedError"),
        "running.png": ("running", None),
        "skipped.png": ("skipped", "SkippedError"),
        "unrecorded.png": ("unrecorded", "NotRecorded"),
        "waiting.png": ("waiting", "RetryError"),
    }


def test_an_overwrite_that_nobody_recorded_is_listed_as_such(db, silent, one_of_each):
    silent.execute("update storage.objects set version = 'other' where name in ('searchable.png', 'due.png')")
    rows = listed(db, "unrecorded")
    assert sorted(name for _, name, *_ in rows) == ["due.png", "searchable.png", "unrecorded.png"]
    messages = db.execute("select distinct error_message from public.list_embedding_jobs('unrecorded')")
    assert "neural-search backfill" in messages.fetchone()[0]


def test_the_list_is_read_in_pages_without_gaps_or_repetitions(db, one_of_each):
    db.execute("insert into neural_search.models (name, dimensions) values ('tiny', 2)")
    complete = listed(db, None, None)
    pages, last = [], (None, None)
    while page := listed(db, None, 2, None, None, *last):
        assert len(page) <= 2
        pages += page
        last = (page[-1][0], page[-1][2])
    assert pages == complete == sorted(complete, key=lambda row: (row[0], row[2]))
    assert len(complete) == 6 + 7  # with the model that is being built nothing is searchable yet


def test_the_list_is_narrowed_by_state_bucket_and_prefix(db, one_of_each):
    assert [name for _, name, *_ in listed(db, "failed")] == ["failed.png"]
    assert listed(db, None, None, "attic") == []
    assert [name for _, name, *_ in listed(db, None, None, "images", "d")] == ["due.png"]


def test_the_backlog_counts_each_object_once(db, one_of_each):
    with as_role(db, "service_role"):
        rows = db.execute(f"select bucket_id, model, {BACKLOG} from neural_search.backlog").fetchall()
    assert rows == [("images", MODEL, 7, 1, 1, 1, 1, 1, 1, 1)]


def test_a_folder_that_the_dashboard_made_is_no_image_that_is_missing(db, make_object):
    make_object("holidays/.emptyFolderPlaceholder")
    assert db.execute("select objects from neural_search.backlog").fetchone() == (0,)
    assert listed(db) == []


def test_an_indexed_bucket_with_nothing_in_it_is_in_the_backlog(db):
    rows = db.execute(f"select {BACKLOG}, oldest_seconds from neural_search.backlog").fetchall()
    assert rows == [(*[0] * 8, None)]


def test_the_backlog_tells_the_age_of_the_oldest_job_that_is_to_be_done(db, one_of_each):
    db.execute("""
        update neural_search.jobs set queued_at = now() - case state when 'pending' then interval '1 hour'
          else interval '1 day' end
    """)
    assert 3600 <= db.execute("select oldest_seconds from neural_search.backlog").fetchone()[0] < 3660


def test_failures_are_counted_by_cause_with_an_example(db, one_of_each, make_object):
    object_id = make_object("another.png")
    db.execute(
        "update neural_search.jobs set state = 'failed', error_class = 'FailedError' where object_id = %s",
        [object_id],
    )
    rows = db.execute("""
        select state, error_class, objects, example_name, example_message
        from neural_search.failures order by 1
    """).fetchall()
    assert [row[:3] for row in rows] == [
        ("failed", "FailedError", 2),
        ("skipped", "SkippedError", 1),
        ("waiting", "RetryError", 1),
    ]
    assert rows[1][3:] == ("skipped.png", "It is cut off.")


def test_freshness_is_from_upload_to_searchable_over_the_last_day(db, make_document):
    for minutes in (1, 2, 3):
        object_id = make_document()
        db.execute(
            "update neural_search.documents set queued_at = embedded_at - %s * interval '1 minute'"
            " where object_id = %s",
            [minutes, object_id],
        )
    make_document()
    db.execute("""
        update neural_search.documents set embedded_at = now() - interval '25 hours'
        where embedded_at - queued_at < interval '1 minute'
    """)
    rows = db.execute(
        "select model, documents, p50_seconds, p95_seconds from neural_search.freshness"
    ).fetchall()
    assert rows == [(MODEL, 3, 120, pytest.approx(174))]


def test_the_report_has_it_all(db, one_of_each):
    db.execute("select public.reconcile_documents()")
    with as_role(db, "service_role"):
        ((report,),) = db.execute("select public.embedding_report()")
    assert [row["bucket_id"] for row in report["backlog"]] == ["images"]
    assert len(report["failures"]) == 3 and report["freshness"][0]["documents"] == 1
    assert {name: report["reconciled"][name] for name in ("missing", "stale", "orphaned")} == {
        "missing": 1,
        "stale": 0,
        "orphaned": 0,
    }
    assert report["reconciled"]["at"] and report["unindexed"] == ["albums", "attic"]


def test_the_report_of_an_empty_project_has_the_same_parts(db):
    db.execute("delete from neural_search.buckets")
    ((report,),) = db.execute("select public.embedding_report()")
    assert report == {
        "backlog": [],
        "failures": [],
        "freshness": [],
        "reconciled": None,
        "unindexed": ["albums", "images"],
    }


def test_old_reconciliations_are_forgotten_but_never_the_last(db):
    for _ in range(3):
        db.execute("select public.reconcile_documents()")
    db.execute("update neural_search.reconciliations set at = now() - interval '8 days'")
    db.execute("select neural_search.tidy()")
    assert db.execute("select reconciliation_id from neural_search.reconciliations").fetchall() == [(3,)]


def test_old_runs_of_our_schedules_are_forgotten_and_nobody_elses(database, db):
    db.execute("select cron.schedule('neural-search-theirs', '* * * * *', 'select 1')")
    with database.connect("supabase_admin") as platform:
        platform.execute("""
            insert into cron.job_run_details (jobid, username, end_time)
            select jobid, 'postgres', now() - interval '3 days' from cron.job
        """)
    db.execute("select neural_search.tidy()")
    left = db.execute("select jobname from cron.job_run_details join cron.job using (jobid)").fetchall()
    assert left == [("neural-search-theirs",)]


def backfill(db, **arguments):
    given = ", ".join(f"{name} => %({name})s" for name in arguments)
    return db.execute(f"select public.backfill_documents({given})", arguments).fetchone()[0]


def test_a_backfill_queues_what_has_neither_job_nor_up_to_date_document(db, silent, one_of_each):
    silent.execute(
        "update storage.objects set version = 'other' where name in ('searchable.png', 'failed.png')"
    )
    with as_role(db, "service_role"):
        assert backfill(db, dry_run=True) == 3
        assert backfill(db) == 3
        assert backfill(db, dry_run=True) == backfill(db) == 0
    due = sorted(name for _, name, *_ in listed(db, "due"))
    assert due == ["due.png", "failed.png", "searchable.png", "unrecorded.png"]
    version = "select version from neural_search.jobs where object_id = %s"
    assert db.execute(version, [one_of_each["failed"]]).fetchone() == ("other",)


def test_a_backfill_takes_bounded_steps(db, silent):
    silent.execute(
        "insert into storage.objects (bucket_id, name, version)"
        " select 'images', n, 'v' from generate_series(1, 5) as n"
    )
    assert [backfill(db, max_jobs=2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_backfill_is_narrowed_to_a_bucket_and_a_prefix(db, silent):
    silent.execute(
        "insert into storage.objects (bucket_id, name) values ('images', 'a/1'), ('images', 'b/1')"
    )
    assert backfill(db, bucket="images", name_prefix="a/", dry_run=True) == 1
    assert backfill(db, bucket="images", name_prefix="a/") == 1
    assert backfill(db) == 1


def test_a_backfill_of_a_bucket_that_isnt_indexed_says_what_to_do(db):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="'attic' isn't indexed") as caught:
        backfill(db, bucket="attic")
    assert "index_bucket" in caught.value.diag.message_hint


def test_a_backfill_kicks(db, silent):
    db.execute("select vault.create_secret('http://127.0.0.1/', 'neural_search_embed_url')")
    db.execute("select vault.create_secret('secret', 'neural_search_webhook_secret')")
    silent.execute("insert into storage.objects (bucket_id, name) values ('images', 'a.png')")
    backfill(db)
    assert db.execute("select count(*) from net.http_request_queue").fetchone() == (1,)


def test_a_document_made_meanwhile_is_no_more_in_the_list(db, make_object):
    object_id = make_object("a.png")
    assert len(listed(db)) == 1
    finish(db, object_id, vector(1))
    assert listed(db) == []


def test_images_that_are_cut_off_are_counted_beside_the_searchable_ones(db, make_object, make_document):
    make_document("whole.png")
    half = make_object("half.jpg")
    finish = """
        select public.finish_embedding_job(
          object_id => o.id, model => %s, object_version => o.version, embedding => %s, content_hash => 'h',
          width => 2, height => 4, mime_type => 'image/jpeg', shown => 0.5
        ) from storage.objects as o where o.id = %s
    """
    assert db.execute(finish, [MODEL, vector(1), half]).fetchone() == ("embedded",)
    with as_role(db, "service_role"):
        backlog = db.execute("select public.embedding_report() -> 'backlog'").fetchone()[0]
    counts = {row["bucket_id"]: (row["searchable"], row["cut_off"]) for row in backlog}
    assert counts["images"] == (2, 1)


@pytest.mark.parametrize("shown", [0, -1, 1.01, "NaN"])
def test_a_share_that_makes_no_sense_is_refused(db, make_document, shown):
    make_document("a.png")
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute("update neural_search.documents set shown = %s", [shown])
