"""The trigger on storage.objects follows Storage, which never suffers from it."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.databases import MODEL, as_role, finish, vector

from cli.installer import cron_jobs

JOBS = "select object_id, version, state, attempts, lease_id is not null from neural_search.jobs"
DOCUMENTS = "select object_id, bucket_id, content, object_version from neural_search.documents"


@pytest.fixture
def storage(database):
    with database.connect("supabase_storage_admin") as connection:
        yield connection


@pytest.fixture
def remove(storage):
    def remove(object_id):
        with storage.transaction():
            storage.execute("set local storage.allow_delete_query = 'true'")
            storage.execute("delete from storage.objects where id = %s", [object_id])

    return remove


@pytest.fixture
def move(storage):
    """As storage-api does: one update, with a new version of the same bytes."""

    def move(object_id, name, *, bucket="images", version="moved"):
        storage.execute(
            "update storage.objects set name = %s, bucket_id = %s, version = %s where id = %s",
            [name, bucket, version, object_id],
        )

    return move


@pytest.fixture
def callable_function(db):
    db.execute("select vault.create_secret('http://127.0.0.1/embed', 'neural_search_embed_url')")
    db.execute("select vault.create_secret('open sesame', 'neural_search_webhook_secret')")


def requests(connection):
    return connection.execute(
        "select url, headers, convert_from(body, 'UTF8')::jsonb from net.http_request_queue order by id"
    ).fetchall()


def other_bucket(storage, name="attic"):
    storage.execute("insert into storage.buckets (id, name) values (%s, %s)", [name, name])
    return name


def test_an_upload_makes_a_job(db, make_object):
    object_id = make_object(version="v1")
    assert db.execute(JOBS).fetchall() == [(object_id, "v1", "pending", 0, False)]


def test_an_upload_to_a_bucket_that_isnt_indexed_makes_nothing(db, storage, make_object):
    make_object(bucket=other_bucket(storage))
    assert db.execute(JOBS).fetchall() == []


def test_an_overwrite_takes_the_old_document_out_in_the_uploaders_own_transaction(
    database, db, make_document
):
    object_id = make_document("a.png")
    with database.connect("supabase_storage_admin") as uploader, uploader.transaction():
        uploader.execute("update storage.objects set version = 'v2' where id = %s", [object_id])
        uploader.execute("reset role")
        assert len(db.execute(DOCUMENTS).fetchall()) == 1
    assert db.execute(DOCUMENTS).fetchall() == []
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 0, False)]


def test_an_overwrite_makes_a_leased_job_due_again(db, make_object):
    make_object("a.png", version="v1")
    db.execute("select public.claim_embedding_jobs('{efficientnet-lite0-concepts}')")
    object_id = make_object("a.png", version="v2")
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 0, False)]


def test_an_overwrite_gives_a_failed_object_another_chance(db, make_object):
    make_object("a.png", version="v1")
    db.execute("update neural_search.jobs set state = 'failed', error_class = 'BrokenImage'")
    object_id = make_object("a.png", version="v2")
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 0, False)]


def test_a_move_rewrites_the_document_and_makes_no_job(db, make_document, move):
    object_id = make_document("a.png")
    move(object_id, "folder/b.png", version="v2")
    assert db.execute(DOCUMENTS).fetchall() == [(object_id, "images", "folder/b.png", "v2")]
    assert db.execute(JOBS).fetchall() == []


# Invariant 8: copies from the object follow it in the same transaction.
def test_a_move_between_indexed_buckets_rewrites_the_bucket(db, storage, make_document, move):
    db.execute("select public.index_bucket(%s)", [other_bucket(storage)])
    object_id = make_document("a.png")
    move(object_id, "a.png", bucket="attic", version="v2")
    assert db.execute(DOCUMENTS).fetchall() == [(object_id, "attic", "a.png", "v2")]


def test_a_move_out_of_the_indexed_buckets_removes_document_and_job(
    db, storage, make_document, make_object, move
):
    other_bucket(storage)
    for object_id in (make_document("a.png"), make_object("b.png")):
        move(object_id, f"{object_id}.png", bucket="attic")
    assert db.execute(DOCUMENTS).fetchall() == db.execute(JOBS).fetchall() == []


def test_a_move_into_an_indexed_bucket_makes_a_job(db, storage, make_object, move):
    object_id = make_object(bucket=other_bucket(storage))
    move(object_id, "a.png", version="v2")
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 0, False)]


def test_a_move_carries_a_waiting_job_and_takes_a_running_one_back(db, make_object, move):
    object_id = make_object("a.png", version="v1")
    db.execute("select public.claim_embedding_jobs('{efficientnet-lite0-concepts}')")
    move(object_id, "b.png", version="v2")
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 0, False)]
    assert finish(db, object_id, vector(1), version="v1") == "superseded"


def test_moves_cost_an_image_none_of_its_attempts(db, make_object, move):
    object_id = make_object("0.png", version="v0")
    for number in range(1, 8):
        assert (
            db.execute("select from public.claim_embedding_jobs('{efficientnet-lite0-concepts}')").rowcount
            == 1
        )
        move(object_id, f"{number}.png", version=f"v{number}")
        db.execute("select neural_search.give_up_exhausted()")
    assert finish(db, object_id, vector(1), version="v7") == "embedded"


def test_a_move_spares_no_image_the_attempt_of_a_worker_that_came_to_no_end(db, make_object, move):
    object_id = make_object("a.png", version="v1")
    db.execute("select public.claim_embedding_jobs('{efficientnet-lite0-concepts}')")
    db.execute("update neural_search.jobs set next_attempt_at = now() - interval '1 second'")
    move(object_id, "b.png", version="v2")
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 1, False)]


def test_a_move_carries_the_cause_of_a_failure(db, make_object, move):
    object_id = make_object("a.png")
    db.execute("update neural_search.jobs set state = 'skipped', error_class = 'NotAnImage'")
    move(object_id, "b.png", version="v2")
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "skipped", 0, False)]


@pytest.mark.parametrize("cause", ["InvalidObjectName", "StorageRefused", "ObjectBlocked"])
def test_a_move_makes_what_failed_for_its_name_due_again(db, make_object, move, cause):
    object_id = make_object("../a.png")
    db.execute(
        "update neural_search.jobs set state = 'failed', attempts = 5, error_class = %s",
        [cause],
    )
    move(object_id, "a.png", version="v2")
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 0, False)]


IN_PARTS, WHOLE = '"3858f62230ac3c915f300c664312c63f-2"', '"900150983cd24fb0d6963f7d28e17f72"'


@pytest.fixture
def move_bytes(db, storage):
    """Moves an object of 3 bytes; both eTags are told, and the size that it has then."""

    def move_bytes(object_id, before, after, size=3):
        storage.execute(
            "update storage.objects set metadata = %s where id = %s",
            [Jsonb({"eTag": before, "size": 3}), object_id],
        )
        storage.execute(
            "update storage.objects set name = 'b.png', version = 'v2', metadata = %s where id = %s",
            [Jsonb({"eTag": after, "size": size}), object_id],
        )

    return move_bytes


def test_a_move_of_what_came_in_parts_is_a_move_although_its_etag_changes(db, make_document, move_bytes):
    object_id = make_document("a.png")
    move_bytes(object_id, IN_PARTS, WHOLE)
    assert db.execute(DOCUMENTS).fetchall() == [(object_id, "images", "b.png", "v2")]


def test_bytes_that_came_in_parts_are_read_again_after_a_move(db, make_document, move_bytes):
    """Storage copies and then moves; the eTags can't tell whether another upload came between."""
    object_id = make_document("a.png")
    move_bytes(object_id, IN_PARTS, WHOLE)
    db.execute("select public.reconcile_documents()")
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 0, False)]
    assert finish(db, object_id, vector(0, 1)) == "embedded"
    assert db.execute(JOBS).fetchall() == []


def test_no_retired_model_reads_moved_bytes_again(db, make_document, move_bytes):
    object_id = make_document("a.png")
    db.execute("update neural_search.models set state = 'retired'")
    move_bytes(object_id, IN_PARTS, WHOLE)
    assert db.execute(JOBS).fetchall() == []


def test_bytes_that_came_in_parts_are_not_blamed_after_a_move_for_what_was_there(db, make_object, move_bytes):
    object_id = make_object("a.png")
    db.execute("update neural_search.jobs set state = 'skipped', error_class = 'NotAnImage'")
    move_bytes(object_id, IN_PARTS, WHOLE)
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 0, False)]


@pytest.mark.parametrize(
    ("before", "after", "size"),
    [('"one"', WHOLE, 3), (WHOLE, IN_PARTS, 3), (IN_PARTS, '"another-2"', 3), (IN_PARTS, WHOLE, 4)],
)
def test_a_move_with_other_bytes_is_an_overwrite(db, make_document, move_bytes, before, after, size):
    object_id = make_document("a.png")
    move_bytes(object_id, before, after, size)
    assert db.execute(DOCUMENTS).fetchall() == []
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending", 0, False)]


def test_a_deletion_removes_document_and_job(db, make_document, make_object, remove):
    for object_id in (make_document("a.png"), make_object("b.png")):
        remove(object_id)
    assert db.execute(DOCUMENTS).fetchall() == db.execute(JOBS).fetchall() == []


@pytest.mark.parametrize("change", ["is_delete_marker = true", "archived_at = now()"])
def test_a_delete_marker_counts_as_a_deletion(db, storage, make_document, change):
    object_id = make_document("a.png")
    storage.execute(f"update storage.objects set {change} where id = %s", [object_id])
    assert db.execute(DOCUMENTS).fetchall() == db.execute(JOBS).fetchall() == []


def test_projects_without_versioned_buckets_work_as_well(database, db, make_document):
    with database.connect("supabase_admin") as platform:
        platform.execute(
            "alter table storage.objects drop is_delete_marker, drop archived_at, drop is_versioned"
        )
    make_document("a.png")
    ((found,),) = db.execute("select count(*) from public.match_documents(%s)", [vector(1)])
    assert found == 1


def test_changes_that_leave_bytes_and_place_alone_are_ignored(db, storage, make_document, callable_function):
    object_id = make_document("a.png")
    db.execute("delete from net.http_request_queue")
    storage.execute("update storage.objects set last_accessed_at = now() where id = %s", [object_id])
    assert len(db.execute(DOCUMENTS).fetchall()) == 1
    assert requests(db) == []


def test_objects_older_than_versions_are_indexed_too(db, make_object):
    object_id = make_object("a.png", version=None)
    assert finish(db, object_id, vector(1), version="") == "embedded"
    assert db.execute("select count(*) from public.match_documents(%s)", [vector(1)]).fetchone() == (1,)


def test_a_kick_is_a_webhook_with_the_secret_from_vault(db, make_object, callable_function):
    object_id = make_object("a.png")
    ((url, headers, body),) = requests(db)
    assert url == "http://127.0.0.1/embed"
    assert headers == {"Content-Type": "application/json", "x-webhook-secret": "open sesame"}
    assert (body["type"], body["schema"], body["table"]) == ("INSERT", "storage", "objects")
    assert body["record"] == {"id": str(object_id)}


def test_the_queue_that_every_role_reads_names_no_object(db, make_object, callable_function):
    metadata = {"note": "SECRET"}
    make_object("SECRET/a.png", owner_id="SECRET", user_metadata=Jsonb(metadata))
    make_object("SECRET/a.png", owner_id="SECRET", user_metadata=Jsonb(metadata))  # an overwrite
    with as_role(db, "anon"):
        sent = requests(db)
    assert len(sent) == 2 and "SECRET" not in str(sent)


def test_only_what_leaves_work_is_kicked(db, make_document, make_object, move, remove, callable_function):
    object_id = make_document("a.png")
    db.execute("delete from net.http_request_queue")
    move(object_id, "b.png")
    remove(object_id)
    assert requests(db) == []


def sent(db):
    """As pg_net does it: the requests leave the queue and wait for their answers."""
    return [row for (row,) in db.execute("delete from net.http_request_queue returning id")]


def answered(platform, *requests):
    for request in requests:
        platform.execute("insert into net._http_response (id, status_code) values (%s, 200)", [request])


@pytest.fixture
def platform(database):
    with database.connect("supabase_admin") as connection:
        yield connection


def test_a_burst_makes_as_many_calls_as_may_be_in_flight(db, platform, make_object, callable_function):
    """One of four is the schedule's; each answer makes room for one more."""
    for _ in range(20):
        make_object()
    in_flight = sent(db)
    assert len(in_flight) == 3
    db.execute("select neural_search.kick_due()")
    assert [body["type"] for _, _, body in requests(db)] == ["KICK"]
    assert len(sent(db)) == 1
    make_object()
    db.execute("select neural_search.kick_due()")
    assert sent(db) == []
    answered(platform, in_flight[0])
    make_object(), make_object()
    assert len(sent(db)) == 1
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (23,)


def test_a_call_that_never_answers_is_forgotten_after_15_seconds(db, make_object, callable_function):
    for _ in range(5):
        make_object()
    assert len(sent(db)) == 3
    db.execute("update neural_search.kicks set kicked_at = kicked_at - interval '14 seconds'")
    make_object()
    assert sent(db) == []
    db.execute("update neural_search.kicks set kicked_at = kicked_at - interval '2 seconds'")
    for _ in range(5):
        make_object()
    assert len(sent(db)) == 3


CLAIM = "select count(*) from public.claim_embedding_jobs(%s, %s)"


def test_uploads_make_no_call_while_somebody_takes_all_they_can(db, make_object, callable_function):
    """Who took as many uploads as they could comes back for more; the schedule tells one more instance."""
    for _ in range(60):
        make_object()
    sent(db)
    db.execute("update neural_search.kicks set kicked_at = '-infinity'")
    assert db.execute(CLAIM, [[MODEL], 5]).fetchone() == (5,)
    make_object()
    assert sent(db) == []
    assert db.execute("select neural_search.kick_due()").fetchone() == (1,)
    db.execute("update neural_search.models set burst_at = burst_at - interval '3 seconds'")
    make_object()
    assert len(sent(db)) == 2


@pytest.mark.parametrize("most", [1, 2])
def test_an_upload_makes_a_call_beside_backfill_and_when_a_claim_left_nothing(
    db, silent, make_object, callable_function, most
):
    silent.execute(
        "insert into storage.objects (bucket_id, name, created_at, updated_at)"
        " select 'images', n, '2020-01-01', '2020-01-01' from generate_series(1, 9) as n"
    )
    db.execute("select public.backfill_documents()")
    make_object("a.png")
    db.execute("delete from net.http_request_queue")
    assert db.execute(CLAIM, [[MODEL], 2]).fetchone() == (1,)  # fewer than it wanted
    assert db.execute(CLAIM, [[MODEL], most]).fetchone() == (most,)  # of the backfill
    make_object("b.png")
    assert len(sent(db)) == 1


def test_a_claim_waits_for_nobody_who_notes_a_burst(database, db, make_object):
    make_object()
    with database.connect() as other, other.transaction():
        other.execute("select neural_search.note_request(%s, true)", [[MODEL]])
        db.execute("set statement_timeout = '5s'")
        assert db.execute(CLAIM, [[MODEL], 1]).fetchone() == (1,)


def test_uploads_at_the_same_time_wait_for_no_slot(database, db, make_object, callable_function):
    with database.connect() as other, other.transaction():
        for n in range(9):
            other.execute("insert into storage.objects (bucket_id, name) values ('images', %s)", [f"{n}.jpg"])
        make_object("a.png")
        assert requests(db) == []
        db.execute("select neural_search.kick_due()")
        assert len(requests(db)) == 1
    assert len(requests(db)) == 4


def test_a_rolled_back_upload_uses_up_no_slot(database, db, make_object, callable_function):
    with database.connect() as other, other.transaction(force_rollback=True):
        other.execute(
            "insert into storage.objects (bucket_id, name) select 'images', n from generate_series(1, 9) n"
        )
    for _ in range(5):
        make_object()
    assert len(requests(db)) == 3


def test_how_many_calls_may_be_in_flight_can_be_set(db, make_object, callable_function):
    for most, calls in ((2, 1), (9, 8)):
        db.execute("select neural_search.limit_kicks(%s)", [most])
        db.execute("update neural_search.kicks set kicked_at = '-infinity'")
        for _ in range(12):
            make_object()
        assert len(sent(db)) == calls


@pytest.mark.parametrize("most", [None, 0, 1, 101])
def test_the_schedule_keeps_a_call_of_its_own(db, most):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="expected 2 to 100") as refused:
        db.execute("select neural_search.limit_kicks(%s)", [most])
    assert "One is kept for the schedule" in str(refused.value)


def test_nothing_is_kicked_while_200_requests_wait(db, make_object, callable_function):
    db.execute("""
        insert into net.http_request_queue (method, url, timeout_milliseconds)
        select 'GET', 'http://127.0.0.1', 1 from generate_series(1, 200)
    """)
    make_object("a.png")
    assert len(requests(db)) == 200
    assert len(db.execute(JOBS).fetchall()) == 1


# Invariant 1: neither URL nor secret, no extension, a kick that fails: the record stays.
@pytest.mark.parametrize("missing", ["neural_search_embed_url", "neural_search_webhook_secret"])
def test_nothing_is_kicked_without_url_or_secret(db, make_object, callable_function, missing):
    db.execute("delete from vault.secrets where name = %s", [missing])
    make_object("a.png")
    assert requests(db) == []
    assert len(db.execute(JOBS).fetchall()) == 1


@pytest.mark.parametrize("schema", ["net", "vault"])
def test_a_failed_kick_never_undoes_the_record(database, db, make_object, callable_function, schema):
    with database.connect("supabase_admin") as platform:
        platform.execute(f"drop schema {schema} cascade")
    make_object("a.png")
    assert len(db.execute(JOBS).fetchall()) == 1


# Invariant 1: locked, broken or missing, our side holds up no upload.
@pytest.mark.parametrize(
    "table",
    ["neural_search.jobs", "neural_search.buckets", "neural_search.models", "neural_search.documents"],
)
def test_uploads_go_on_while_our_tables_are_locked(database, db, make_document, make_object, remove, table):
    overwritten, removed = make_document("a.png"), make_document("b.png")
    with database.connect() as blocker, blocker.transaction():
        blocker.execute(f"lock table {table} in access exclusive mode")
        make_object("a.png")
        make_object("c.png")
        remove(removed)
    names = [name for (name,) in db.execute("select name from storage.objects order by name")]
    assert names == ["a.png", "c.png"]
    db.execute("select public.reconcile_documents()")
    states = db.execute("select name, state from public.object_states('images', '{a.png,c.png}')").fetchall()
    assert states == [("a.png", "pending"), ("c.png", "pending")]
    assert (
        db.execute("select from neural_search.documents where object_id = %s", [overwritten]).fetchall() == []
    )


def test_a_transaction_waits_once_for_our_locked_tables_and_not_for_each_row(database, storage):
    warnings = []
    storage.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
    with database.connect() as blocker, blocker.transaction():
        blocker.execute("lock table neural_search.jobs in access exclusive mode")
        storage.execute(
            "insert into storage.objects (bucket_id, name) select 'images', n from generate_series(1, 9) n"
        )
    assert len(warnings) == 1


def test_an_upload_survives_tables_that_are_broken(db, make_object):
    db.execute("alter table neural_search.jobs rename to lost")
    make_object("a.png")
    assert db.execute("select count(*) from storage.objects").fetchone() == (1,)


def test_a_rolled_back_permission_probe_leaves_nothing(database, db, callable_function):
    with database.connect("authenticator") as probe, probe.transaction(force_rollback=True):
        probe.execute("select set_config('role', 'anon', true)")
        probe.execute(
            "insert into storage.objects (bucket_id, name, version) values ('images', 'a.png', '1')"
        )
    assert db.execute(JOBS).fetchall() == requests(db) == []


def test_a_caller_whom_no_policy_lets_upload_is_refused_by_storage_alone(db, storage):
    other_bucket(storage)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"), as_role(db, "anon"):
        db.execute("insert into storage.objects (bucket_id, name) values ('attic', 'a.png')")


def test_settings_of_the_uploaders_session_are_left_alone(storage):
    storage.execute("set lock_timeout = '7s'")
    storage.execute("insert into storage.objects (bucket_id, name) values ('images', 'a.png')")
    assert storage.execute("show lock_timeout").fetchone() == ("7s",)


SECRET = "open sesame"


def test_the_secret_is_in_no_definition(db, callable_function):
    definitions = db.execute("""
        select pg_get_triggerdef(oid) from pg_trigger
        union all select prosrc from pg_proc
        union all select pg_get_viewdef(oid) from pg_class where relkind = 'v'
        union all select command from cron.job
    """).fetchall()
    assert len(definitions) > 100
    assert not any(SECRET in (definition or "") for (definition,) in definitions)


def test_the_secret_is_read_anew_for_each_call(db, make_object, callable_function):
    make_object()
    db.execute("update neural_search.kicks set kicked_at = '-infinity'")
    db.execute("select vault.update_secret(id, 'new') from vault.secrets where name like '%webhook_secret'")
    make_object()
    assert [headers["x-webhook-secret"] for _, headers, _ in requests(db)] == [SECRET, "new"]


@pytest.mark.parametrize("kick", ["trigger", "schedule"])
def test_the_secret_is_in_no_warning_even_where_the_error_shows_it(
    database, db, make_object, callable_function, kick
):
    with database.connect("supabase_admin") as platform:
        platform.execute("""
            drop function net.http_post;
            create function net.http_post(url text, body jsonb, headers jsonb, timeout_milliseconds integer)
            returns bigint language plpgsql as $$
            begin
              raise exception 'can''t send %', headers using detail = headers::text, hint = headers::text;
            end
            $$
        """)
    said = []

    def hear(notice):
        said.append({part: getattr(notice, part) for part in dir(notice) if not part.startswith("_")})

    with database.connect() as connection:
        connection.add_notice_handler(hear)
        if kick == "trigger":
            connection.execute(
                "insert into storage.objects (bucket_id, name, version) values ('images', 'a.png', '1')"
            )
        else:
            make_object()
            connection.execute("select neural_search.kick_due()")
    assert [notice["severity"] for notice in said] == ["WARNING"]
    assert "can't send" in said[0]["message_primary"]
    assert SECRET not in str(said)
    assert len(db.execute(JOBS).fetchall()) == 1


@pytest.mark.parametrize("table", ["net.http_request_queue", "vault.secrets"])
def test_a_kick_that_has_to_wait_is_given_up_and_the_record_stays(
    database, db, make_object, callable_function, table
):
    with database.connect("supabase_admin") as blocker, blocker.transaction():
        blocker.execute(f"lock table {table} in access exclusive mode")
        make_object("a.png")
    assert requests(db) == []
    assert len(db.execute(JOBS).fetchall()) == 1


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_another_roles_trigger_on_the_queue_never_runs_as_us(
    database, db, storage, callable_function, isolation
):
    """pg_net gives every role all rights on its queue."""
    with database.connect("supabase_admin") as platform, database.connect("supabase_admin") as stranger:
        platform.execute("""
            drop role if exists test_stranger;
            create role test_stranger;
            create table public.loot (as_whom text);
            grant insert on public.loot to public;
        """)
        stranger.execute(f'grant temporary on database "{database.name}" to test_stranger')
        stranger.execute("set role test_stranger")
        stranger.execute("""
            create function pg_temp.take() returns trigger language plpgsql as
            $$ begin insert into public.loot values (current_user); return new; end $$
        """)
        with storage.transaction():
            storage.execute(f"set transaction isolation level {isolation}")
            storage.execute("select from storage.buckets")
            stranger.execute(
                "create trigger taking before insert on net.http_request_queue"
                " for each row execute function pg_temp.take()"
            )
            storage.execute(
                "insert into storage.objects (bucket_id, name, version) values ('images', 'a.png', '1')"
            )
        db.execute("select neural_search.kick_due()")
        assert platform.execute("select as_whom from public.loot").fetchall() == []
        stranger.execute("reset role")
        stranger.execute("drop function pg_temp.take() cascade; drop owned by test_stranger")
    assert len(db.execute(JOBS).fetchall()) == 1
    db.execute("select neural_search.kick_due()")
    assert len(requests(db)) == 1


@pytest.mark.parametrize("schema", ["net", "cron"])
def test_another_roles_schema_isnt_taken_for_an_extensions(
    database, db, make_object, callable_function, schema
):
    """Where the extension is missing, a role that may make schemas can make one of its name."""
    with database.connect("supabase_admin") as platform:
        platform.execute(f"drop schema {schema} cascade")
        platform.execute(f'grant create on database "{database.name}" to authenticated')
        platform.execute("set role authenticated")
        platform.execute(
            """
            create schema net;
            create table net.http_request_queue (id bigint);
            create table net._http_response (id bigint, created timestamptz);
            create table net.loot (as_whom text);
            create function net.http_post(url text, body jsonb, headers jsonb, timeout_milliseconds integer)
            returns bigint language sql as 'insert into net.loot values (current_user) returning 1::bigint';
        """.replace("net.", f"{schema}.").replace("schema net", f"schema {schema}")
        )
        platform.execute(f"""
            create table {schema}.job (
              jobid bigint, jobname text, command text, username text, active boolean, schedule text
            );
            create function {schema}.schedule(name text, times text, command text) returns bigint
            language sql as 'insert into {schema}.loot values (current_user) returning 1::bigint';
            grant all on schema {schema} to public;
            grant all on all tables in schema {schema} to public;
        """)
        make_object("cat.png")
        db.execute("select neural_search.attach()")
        assert not cron_jobs.has_cron(db) or schema == "net"
        assert platform.execute(f"select as_whom from {schema}.loot").fetchall() == []
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (1,)
