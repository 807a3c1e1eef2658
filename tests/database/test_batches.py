"""Vectors stored in one round trip: each image has the outcome that it would have alone."""

from __future__ import annotations

import threading

import psycopg
import pytest
from postgrest import APIError
from support.databases import DIMENSIONS, MODEL, as_role, finish, vector

from shared.supabase.database import translate

ARRAYS = {
    "object_ids": "uuid",
    "models": "text",
    "object_versions": "text",
    "embeddings": "text",
    "content_hashes": "text",
    "widths": "integer",
    "heights": "integer",
    "mime_types": "text",
    "perceptual_hashes": "text",
    "shown": "real",
    "decoder_versions": "integer",
}
CALL = f"select public.finish_embedding_jobs({', '.join(f'%({n})s::{kind}[]' for n, kind in ARRAYS.items())})"


def values(*images, **changed):
    """The arrays for `(object_id, version)` and maybe an embedding."""
    count = len(images)
    return {
        "object_ids": [image[0] for image in images],
        "models": [MODEL] * count,
        "object_versions": [image[1] for image in images],
        "embeddings": [image[2] if image[2:] else vector(1) for image in images],
        "content_hashes": ["hash"] * count,
        "widths": [2] * count,
        "heights": [3] * count,
        "mime_types": ["image/png"] * count,
        "perceptual_hashes": ["01" * 32] * count,
        "shown": [1.0] * count,
        "decoder_versions": [2] * count,
        **changed,
    }


def finish_all(connection, *images, **changed):
    ((statuses,),) = connection.execute(CALL, values(*images, **changed)).fetchall()
    return statuses


def documents(connection):
    return connection.execute("select object_id, object_version from neural_search.documents").fetchall()


def jobs(connection):
    return connection.execute("select object_id, version from neural_search.jobs").fetchall()


@pytest.fixture
def three(make_object):
    return [(make_object(f"{number}.png", version="v1"), "v1") for number in range(3)]


def test_a_batch_stores_what_the_single_call_stores(db, three):
    one, *others = three
    db.execute(
        "select public.finish_embedding_job(%s, %s, 'v1', %s, 'hash', 2, 3, 'image/png', %s, 1, 2)",
        [one[0], MODEL, vector(1), "01" * 32],
    )
    assert finish_all(db, *others) == ["embedded"] * 2
    same = db.execute(
        "select count(*), count(distinct to_jsonb(d) - 'id' - 'object_id' - 'content' - 'queued_at'"
        " - 'embedded_at' - 'created_at' - 'updated_at' - 'uploaded_at') from neural_search.documents as d"
    )
    assert (same.fetchone(), jobs(db)) == ((3, 1), [])


def test_only_the_service_role_may_store(db, three):
    with as_role(db, "service_role"):
        assert finish_all(db, *three) == ["embedded"] * 3
    for role in ("anon", "authenticated"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), as_role(db, role):
            finish_all(db, *three)


def test_a_stale_version_and_a_deleted_object_harm_no_other(database, db, three):
    stale, deleted, sound = three
    with database.connect("supabase_storage_admin") as storage:
        storage.execute("update storage.objects set version = 'v2' where id = %s", [stale[0]])
        storage.execute("select set_config('storage.allow_delete_query', 'true', false)")
        storage.execute("delete from storage.objects where id = %s", [deleted[0]])
    assert finish_all(db, stale, deleted, sound) == ["superseded", "gone", "embedded"]
    assert (documents(db), jobs(db)) == ([sound], [(stale[0], "v2")])


def test_a_lease_that_is_lost_to_another_writes_no_second_row(db, three):
    first, second, third = three
    assert finish(db, first[0], vector(0, 1)) == "embedded"  # for the present lease
    db.execute("update neural_search.jobs set lease_id = gen_random_uuid() where object_id = %s", [second[0]])
    assert finish_all(db, first, second, third) == ["embedded"] * 3
    assert sorted(documents(db)) == sorted(three)
    kept = db.execute("select embedding from neural_search.documents where object_id = %s", [first[0]])
    assert kept.fetchone()[0].startswith("[0,1,")


@pytest.mark.parametrize(
    "bad", ["[1,2,3]", "", "no vector", vector(0), f"[{','.join(['NaN'] * DIMENSIONS)}]", None]
)
def test_one_bad_vector_among_good_ones_is_refused_alone(db, three, bad):
    first, second, third = three
    assert finish_all(db, first, (*second, bad), third) == ["embedded", "refused", "embedded"]
    assert sorted(documents(db)) == sorted([first, third])
    assert jobs(db) == [second]


@pytest.mark.parametrize(
    "changed",
    [{"models": [MODEL, "nothing", MODEL]}, {"perceptual_hashes": ["01" * 32, "no bits", "01" * 32]}],
)
def test_other_values_that_arent_valid_are_refused_alone(db, three, changed):
    assert finish_all(db, *three, **changed) == ["embedded", "refused", "embedded"]


FAILING = {
    "a table without its schema": "insert into tags select 'a';",
    "a right that is missing": "raise insufficient_privilege;",
    "an assertion": "assert false, 'never';",
    "an error of its own": "raise exception 'never';",
}


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
def test_a_projects_own_trigger_that_fails_for_an_image_is_charged_to_it_alone(db, three, failing):
    db.execute(f"""
        create table public.tags (tag text);
        create function public.own() returns trigger language plpgsql as $$
        begin
          if new.content = '1.png' then {failing} end if;
          return null;
        end $$;
        create trigger own after insert on neural_search.documents for each row execute function public.own()
    """)
    assert finish_all(db, *three) == ["embedded", "refused", "embedded"]
    with pytest.raises(psycopg.Error) as caught:
        finish(db, three[1][0], vector(0, 1))
    told = {"code": caught.value.sqlstate, "message": str(caught.value)}
    assert translate(APIError(told), "finish_embedding_job").outcome != "release"  # of all work


EXPRESSIONS = {
    "a table that isn't there": "('none' || {row}width)::regclass",
    "a right that is missing": "('hidden.tags' || left({row}model, 0))::regclass",
}
CONDITIONS = {
    "a check": ("", "alter table neural_search.documents add constraint own check ({})"),
    "a trigger's condition": (
        "new.",
        """
        create function public.own() returns trigger language plpgsql as 'begin return new; end';
        create trigger own before insert or update on neural_search.documents
          for each row when ({}) execute function public.own()
        """,
    ),
}


@pytest.mark.parametrize(("row", "condition"), CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("failing", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_a_projects_own_condition_that_fails_for_an_image_is_charged_to_it_alone(
    db, three, failing, row, condition
):
    db.execute("create schema hidden; create table hidden.tags (tag text)")
    db.execute(condition.format(f"{row}content <> '1.png' or {failing.format(row=row)} is not null"))
    with as_role(db, "service_role"):
        assert finish_all(db, *three) == ["embedded", "refused", "embedded"]
    with as_role(db, "service_role"), pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        finish(db, three[1][0], vector(0, 1))


@pytest.mark.parametrize(
    "broken",
    [
        "drop function neural_search.copied_columns",
        "alter table neural_search.documents drop column shown cascade",
        "revoke insert on neural_search.documents from service_role",
        "revoke execute on function neural_search.copied_columns from service_role",
        "revoke execute on function neural_search.may_copy from service_role",
    ],
)
def test_what_is_broken_of_ours_is_charged_to_no_image(db, three, broken):
    db.execute(broken)
    with as_role(db, "service_role"), pytest.raises(psycopg.ProgrammingError):
        finish(db, three[0][0], vector(0, 1))


def test_an_image_that_comes_twice_is_stored_once(db, three):
    first, second, _ = three
    assert finish_all(db, first, second, first) == ["embedded"] * 3
    assert sorted(documents(db)) == sorted([first, second])


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("change", ["shorter", "longer", "null"])
def test_arrays_of_different_lengths_are_refused(db, three, name, change):
    given = values(*three)[name]
    changed = {"shorter": given[:2], "longer": [*given, given[0]], "null": None}[change]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="expected as many in each, 1 to 64"):
        finish_all(db, *three, **{name: changed})
    assert documents(db) == []


@pytest.mark.parametrize("count", [0, 65])
def test_a_batch_has_a_bounded_size(db, three, count):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="1 to 64"):
        finish_all(db, *[three[0]] * count)


# Invariant 1: a batch that waited would have all its uploaders wait, and two might wait for each other.
@pytest.mark.parametrize("table", ["storage.objects", "neural_search.jobs"])
def test_a_batch_waits_for_no_row_that_another_holds(database, db, three, table):
    held, *others = three
    column = "id" if table == "storage.objects" else "object_id"
    with database.connect("supabase_admin") as other, other.transaction():
        other.execute(f"select from {table} where {column} = %s for update", [held[0]])
        assert finish_all(db, held, *others) == ["busy", "embedded", "embedded"]
    assert finish_all(db, held) == ["embedded"]


def test_a_batch_begins_nothing_once_uploaders_have_waited_long_enough(database, db, three):
    """Here a document of the first image is held, for which only its own half second is waited."""
    db.execute(
        "insert into neural_search.documents"
        " (object_id, bucket_id, content, model, embedding, object_version)"
        " values (%s, 'images', '0.png', %s, %s, 'v1')",
        [three[0][0], MODEL, vector(1)],
    )
    with database.connect() as other, other.transaction():
        other.execute("select from neural_search.documents for update")
        assert finish_all(db, *three) == ["busy"] * 3
    assert len(jobs(db)) == 3


def test_batches_and_overwrites_at_the_same_time_end_with_the_versions_that_live(database, db, make_object):
    """Invariants 1 and 3: two workers store the same images, in opposite orders, under their uploader."""
    images = [(make_object(f"{number}.png", version="v0"), "v0") for number in range(12)]
    faults = []

    def act(work):
        try:
            work()
        except Exception as fault:
            faults.append(fault)

    def store(order):
        with database.connect() as worker:
            for version in ("v0", "v1", "v2"):
                finish_all(worker, *[(object_id, version) for object_id, _ in order])

    def overwrite():
        with database.connect("supabase_storage_admin") as storage:
            for version in ("v1", "v2"):
                with storage.transaction():
                    storage.execute(
                        "update storage.objects set version = %s where bucket_id = 'images'", [version]
                    )

    threads = [
        threading.Thread(target=act, args=[work])
        for work in (lambda: store(images), lambda: store(images[::-1]), overwrite)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    finish_all(db, *[(object_id, "v2") for object_id, _ in images])
    assert {version for _, version in documents(db)} == {"v2"}
    assert (len(documents(db)), jobs(db)) == (12, [])
