"""One model takes another's place: its addition, when it may be searched, and its remains."""

from __future__ import annotations

import psycopg
import pytest
from support.databases import MODEL, as_role, finish, vector

NotReady = psycopg.errors.ObjectNotInPrerequisiteState
Invalid = psycopg.errors.InvalidParameterValue
TINY = "/models/tiny CLIP"
INDEX = "select neural_search.index_name(%s)"


def models(db):
    return dict(db.execute("select name, state from neural_search.models").fetchall())


def add(db, name=TINY, dimensions=2, strategy="hnsw"):
    return db.execute("select public.add_model(%s, %s, %s)", [name, dimensions, strategy]).fetchone()[0]


def activate(db, name, *, force=False):
    query = "select active, standby, searchable, given_up, unaccounted from public.activate_model(%s, %s)"
    return db.execute(query, [name, force]).fetchone()


def remove(db, name, most=1000):
    return db.execute("select removed, finished from public.remove_model(%s, %s)", [name, most]).fetchone()


def listed(db, name=TINY):
    columns = "state, documents, objects, searchable, pending, given_up, index_valid, index_bytes"
    return db.execute(f"select {columns} from public.list_models() where name = %s", [name]).fetchone()


def finish_with(db, object_id, model, embedding):
    return db.execute(
        "select public.finish_embedding_job(%(id)s, %(model)s,"
        " (select version from storage.objects where id = %(id)s), %(embedding)s, 'hash', 2, 3, 'image/png')",
        {"id": object_id, "model": model, "embedding": embedding},
    ).fetchone()[0]


def states(db, object_id):
    rows = db.execute(
        "select model, state from neural_search.progress where object_id = %s", [object_id]
    ).fetchall()
    return dict(rows)


def claimed(db, loaded, most=10):
    rows = db.execute("select model from public.claim_embedding_jobs(%s, %s)", [loaded, most]).fetchall()
    return [model for (model,) in rows]


@pytest.fixture
def tiny_index(db):
    ((name, definition),) = db.execute(
        "select quote_ident(neural_search.index_name(%(name)s)),"
        " neural_search.index_definition(%(name)s, 2, 'hnsw')",
        {"name": TINY},
    )
    db.execute(f"create index {name} on neural_search.documents {definition}")


@pytest.fixture
def added(db, tiny_index, make_document):
    """A second model, beside which two documents of the first are there and queued; their objects' ids."""
    ids = [make_document("a.png"), make_document("b.png")]
    assert add(db) == "standby"
    assert db.execute("select public.backfill_documents()").fetchone() == (2,)
    return ids


@pytest.fixture
def ready(db, added):
    for object_id in added:
        assert finish_with(db, object_id, TINY, "[1,0]") == "embedded"
    return added


def test_the_first_migrations_index_is_called_as_any_models(db):
    assert db.execute(INDEX, [MODEL]).fetchone() == ("documents_efficientnet_lite0_concepts_idx",)
    assert db.execute("select neural_search.has_index(%s)", [MODEL]).fetchone() == (True,)


def test_no_two_models_share_the_name_of_an_index(db):
    names = ["a-b", "a_b", "A-b", "a/b", "x" * 200, "x" * 201, "/models/ü", "/models/ä", "-"]
    names += ["clip", "clip-lsh", "clip_lsh", "clip-lsh-lsh"]
    found = [
        db.execute("select neural_search.index_name(%s, %s)", [name, strategy]).fetchone()[0]
        for name in names
        for strategy in ("hnsw", "lsh")
    ]
    assert len(set(found)) == 2 * len(names) and max(map(len, found)) <= 63


def test_no_model_has_the_name_of_another_index_of_documents(db):
    """`models remove` would drop it."""
    others = (
        "select indexrelid::regclass::text from pg_index where indrelid = 'neural_search.documents'::regclass"
        " and (pg_get_expr(indpred, indrelid) ~ '^.model = ') is not true"
    )
    indexes = {name.removeprefix("neural_search.") for (name,) in db.execute(others)}
    like_it = {name.removeprefix("documents_").removesuffix("_idx").replace("_", "-") for name in indexes}
    found = {db.execute(INDEX, [name]).fetchone()[0] for name in like_it}
    assert {"owner-id", "shown"} <= like_it and found.isdisjoint(indexes)


def test_an_added_model_is_brought_up_to_date_and_not_searched(db, added):
    assert models(db) == {MODEL: "active", TINY: "standby"}
    assert states(db, added[0]) == {MODEL: "searchable", TINY: "due"}
    assert db.execute("select name from public.active_model()").fetchone() == (MODEL,)


def test_adding_a_model_again_changes_nothing(db, added):
    assert add(db) == "standby" and listed(db)[:5] == ("standby", 0, 2, 0, 2)


def test_a_model_cant_change_its_dimensions(db, added):
    with pytest.raises(NotReady, match="'/models/tiny CLIP' is here with 2 dimensions, not 3") as caught:
        add(db, dimensions=3)
    assert "Remove it first" in caught.value.diag.message_hint


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dimensions": 0}, "dimensions is 0, expected 1 to 4000"),
        ({"dimensions": 4001}, "dimensions is 4001"),
        ({"dimensions": None}, "dimensions is null"),
        ({"strategy": "ivf"}, "search_strategy is 'ivf', expected hnsw, lsh or exact"),
        ({"strategy": None}, "search_strategy is NULL"),
        ({"name": ""}, "name is '', expected"),
        ({"name": None}, "name is NULL"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(db, wrong, message):
    with pytest.raises(Invalid, match=message):
        add(db, **wrong)
    assert models(db) == {MODEL: "active"}


def test_uploads_overwrites_moves_and_deletes_are_followed_with_both_models(
    db, database, make_object, ready, silent
):
    uploaded = make_object("new.png")
    assert states(db, uploaded) == {MODEL: "due", TINY: "due"}
    make_object("a.png")
    assert states(db, ready[0]) == {MODEL: "due", TINY: "due"}
    assert db.execute(
        "select count(*) from neural_search.documents where object_id = %s", [ready[0]]
    ).fetchone() == (0,)
    with database.connect("supabase_storage_admin") as storage:
        storage.execute("update storage.objects set name = 'moved.png', version = 'v2' where name = 'b.png'")
        assert states(db, ready[1]) == {MODEL: "searchable", TINY: "searchable"}
        moved = db.execute("select content, model from neural_search.documents order by model").fetchall()
        assert moved == [("moved.png", TINY), ("moved.png", MODEL)]
        storage.execute("select set_config('storage.allow_delete_query', 'true', false)")
        storage.execute("delete from storage.objects where id = any(%s)", [[uploaded, ready[1]]])
    assert db.execute("select count(*) from neural_search.documents").fetchone() == (0,)
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (2,)  # of a.png alone


def test_reconciliation_finds_what_either_model_lacks(db, silent, ready):
    silent.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'c.png', 'v1')")
    silent.execute("update storage.objects set version = 'v2' where id = %s", [ready[0]])
    repaired = db.execute("select missing, stale from public.reconcile_documents()").fetchone()
    assert repaired == (4, 2)
    assert listed(db)[3:5] == (1, 2) == listed(db, MODEL)[3:5]


def test_the_backlog_says_which_model_is_searched(db, added):
    rows = db.execute(
        "select model, model_state, searchable, due from neural_search.backlog where bucket_id = 'images'"
    ).fetchall()
    assert sorted(rows) == [(TINY, "standby", 0, 2), (MODEL, "active", 2, 0)]


def test_a_model_is_refused_while_images_arent_accounted_for(db, added):
    finish_with(db, added[0], TINY, "[1,0]")
    with pytest.raises(NotReady, match="isn't ready: 1 of 2 images are neither searchable") as caught:
        activate(db, TINY)
    assert "neural-search jobs" in caught.value.diag.message_hint
    assert models(db) == {MODEL: "active", TINY: "standby"}


def test_images_that_nobody_queued_count_as_unaccounted_for(db, ready, silent):
    silent.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'c.png', 'v1')")
    with pytest.raises(NotReady, match="1 of 3 images"):
        activate(db, TINY)


def test_images_given_up_with_a_reason_are_accounted_for(db, added):
    finish_with(db, added[0], TINY, "[1,0]")
    db.execute("update neural_search.jobs set state = 'failed', error_class = 'BrokenImage'")
    assert activate(db, TINY) == (TINY, MODEL, 1, 1, 0)


def test_what_has_just_arrived_for_both_models_holds_nothing_up(db, ready, make_object):
    make_object("new.png")
    assert activate(db, TINY) == (TINY, MODEL, 2, 0, 0)


def test_whoever_insists_gets_the_model_as_it_is(db, added):
    assert activate(db, TINY, force=True) == (TINY, MODEL, 0, 0, 2)


def test_activation_switches_what_is_searched_and_the_same_call_goes_back(db, ready):
    assert activate(db, TINY) == (TINY, MODEL, 2, 0, 0)
    assert models(db) == {MODEL: "standby", TINY: "active"}
    assert db.execute("select name, dimensions from public.active_model()").fetchone() == (TINY, 2)
    assert activate(db, MODEL) == (MODEL, TINY, 2, 0, 0)
    assert models(db) == {MODEL: "active", TINY: "standby"}


def test_activating_the_active_model_changes_nothing(db, ready):
    assert activate(db, MODEL) == (MODEL, None, 2, 0, 0)
    assert models(db) == {MODEL: "active", TINY: "standby"}


def test_nobody_sees_two_active_models_or_none(database, db, ready):
    with database.connect() as other:
        with db.transaction():
            activate(db, TINY)
            assert models(other)[MODEL] == "active" and models(other)[TINY] == "standby"
        assert models(other) == {MODEL: "standby", TINY: "active"}


def test_an_upload_doesnt_wait_for_an_activation(database, db, ready, make_object):
    with db.transaction():
        activate(db, TINY)
        object_id = make_object("meanwhile.png")  # the trigger gives up after 200 ms of waiting for a lock
    assert states(db, object_id) == {MODEL: "due", TINY: "due"}


def test_a_model_without_its_index_is_refused(db, make_document):
    make_document("a.png")
    add(db)
    with pytest.raises(NotReady, match=r"'documents_models_tiny_clip_\w{8}_idx' is missing") as caught:
        activate(db, TINY)
    assert "models add" in caught.value.diag.message_hint


def test_a_model_with_an_index_that_was_never_completed_is_refused(database, db, ready):
    with database.connect("supabase_admin") as platform:
        platform.execute(
            "update pg_index set indisvalid = false"
            " where indexrelid = format('neural_search.%%I', neural_search.index_name(%s))::regclass",
            [TINY],
        )
    assert listed(db)[6] is False
    with pytest.raises(NotReady, match="missing or incomplete"):
        activate(db, TINY)


def test_hashing_takes_planes_and_an_index_of_its_own(db, ready):
    activate(db, TINY)
    with pytest.raises(NotReady, match="has no planes") as caught:
        add(db, strategy="lsh")
    assert "--strategy lsh" in caught.value.diag.message_hint
    db.execute("select neural_search.prepare_lsh(%s)", [TINY])
    with pytest.raises(NotReady, match="have no bits yet"):
        add(db, strategy="lsh")
    db.execute("select neural_search.fill_lsh(%s)", [TINY])
    with pytest.raises(NotReady, match=r"_lsh_idx' is missing"):
        add(db, strategy="lsh")
    ((name, definition),) = db.execute(
        "select quote_ident(neural_search.index_name(%(name)s, 'lsh')),"
        " neural_search.index_definition(%(name)s, 2, 'lsh')",
        {"name": TINY},
    )
    db.execute(f"create index {name} on neural_search.documents {definition}")
    assert add(db, strategy="lsh") == "active"
    assert listed(db)[6] is True
    assert activate(db, TINY)[0] == TINY


def test_a_model_that_is_searched_exactly_needs_no_index(db):
    add(db, strategy="exact")
    assert activate(db, TINY)[:2] == (TINY, MODEL)
    assert listed(db)[6:] == (None, None)


def test_the_active_model_gets_no_strategy_whose_index_is_missing(db):
    add(db, strategy="exact")
    activate(db, TINY)
    with pytest.raises(NotReady, match="is missing"):
        add(db, strategy="hnsw")


def test_a_name_that_isnt_there_is_told_with_those_that_are(db, ready):
    for call in (activate, remove):
        with pytest.raises(Invalid, match=f"There is no model 'none', only '{TINY}', '{MODEL}'"):
            call(db, "none")


def test_the_active_model_is_never_removed(db, ready):
    with pytest.raises(NotReady, match=f"'{MODEL}' is active") as caught:
        remove(db, MODEL)
    assert "Activate another" in caught.value.diag.message_hint
    assert listed(db, MODEL)[:2] == ("active", 2)


def test_a_model_is_removed_in_bounded_steps_and_its_row_last(db, ready, make_object):
    for _ in range(3):
        make_object()
    steps = []
    while not steps or not steps[-1][1]:
        assert TINY in models(db)
        steps.append(remove(db, TINY, 2))
    assert steps == [(2, False), (2, False), (1, False), (0, True)]
    assert models(db) == {MODEL: "active"}
    assert listed(db, MODEL)[:5] == ("active", 2, 5, 2, 3)


def test_from_the_first_step_on_nothing_is_queued_for_a_model_that_is_removed(db, ready, make_object):
    remove(db, TINY, 1)
    assert models(db)[TINY] == "retired"
    assert states(db, make_object("new.png")) == {MODEL: "due"}
    assert claimed(db, [TINY]) == []
    with pytest.raises(NotReady, match="is retired") as caught:
        activate(db, TINY)
    assert "models add" in caught.value.diag.message_hint


def test_documents_of_a_bucket_that_is_gone_are_removed_too(db, ready, silent):
    silent.execute("delete from storage.objects")
    silent.execute("delete from storage.buckets")
    assert [remove(db, TINY) for _ in range(2)] == [(2, False), (0, True)]


def test_what_somebody_has_locked_is_removed_last_and_holds_nothing_else_up(database, db, ready):
    db.execute("set lock_timeout = '100ms'")
    with database.connect() as busy:
        with busy.transaction():
            lock = "select from neural_search.documents where object_id = %s and model = %s for update"
            busy.execute(lock, [ready[0], TINY])
            assert remove(db, TINY) == (1, False)
            with pytest.raises(psycopg.errors.LockNotAvailable):
                remove(db, TINY)  # nothing else is left, and this isn't done either
        assert [remove(db, TINY) for _ in range(2)] == [(1, False), (0, True)]


def test_a_job_that_somebody_has_locked_is_removed_too(database, db, added):
    db.execute("set lock_timeout = '100ms'")
    with database.connect() as busy:
        with busy.transaction():
            busy.execute("select from neural_search.jobs where object_id = %s for update", [added[0]])
            assert remove(db, TINY) == (1, False)
            with pytest.raises(psycopg.errors.LockNotAvailable):
                remove(db, TINY)
        assert [remove(db, TINY) for _ in range(2)] == [(1, False), (0, True)]


def test_a_removal_can_be_taken_back_by_adding(db, ready):
    remove(db, TINY, 1)
    assert add(db) == "standby"
    assert listed(db)[:5] == ("standby", 1, 2, 1, 1)


def test_a_removal_without_bounds_is_refused(db, ready):
    with pytest.raises(Invalid, match="max_rows is 0, expected 1 to 100000"):
        remove(db, TINY, 0)


def test_the_service_may_do_all_of_it(db, tiny_index, make_document):
    object_id = make_document()
    with as_role(db, "service_role"):
        add(db)
        db.execute("select public.backfill_documents()")
        finish_with(db, object_id, TINY, "[1,0]")
        assert activate(db, TINY)[:2] == (TINY, MODEL)
        assert listed(db)[0] == "active" and listed(db)[7] > 0
        assert [remove(db, MODEL)[1] for _ in range(2)] == [False, True]


def test_uploads_go_before_what_a_standby_model_has_to_catch_up_with(db, added, make_object):
    make_object("new.png")
    db.execute(
        "update neural_search.jobs set next_attempt_at = now() - interval '1 hour' where model = %s", [TINY]
    )
    assert claimed(db, [TINY, MODEL]) == [MODEL]
    assert claimed(db, [TINY, MODEL]) == [TINY]
    assert claimed(db, [TINY, MODEL]) == [TINY] * 2  # its backfill
    assert claimed(db, [TINY, MODEL]) == []


def test_an_uploads_own_call_embeds_it_with_the_active_model_first(db, ready, make_object):
    object_id = make_object("new.png")
    rows = db.execute(
        "select status, model from public.claim_object(%s, %s)", [object_id, [TINY, MODEL]]
    ).fetchall()
    assert rows == [("claimed", MODEL), ("claimed", TINY)]


def test_it_is_noted_which_models_somebody_can_load(db, added):
    assert db.execute("select name from neural_search.models where asked_at is not null").fetchall() == []
    claimed(db, [TINY, "unheard-of"])
    asked = "select name, asked_at from neural_search.models where asked_at is not null"
    noted = db.execute(asked).fetchall()
    assert [name for name, _ in noted] == [TINY]
    claimed(db, [TINY])
    assert db.execute(asked).fetchall() == noted  # once a minute is enough


@pytest.fixture
def with_function(db):
    db.execute("select vault.create_secret('http://127.0.0.1/', 'neural_search_embed_url')")
    db.execute("select vault.create_secret('secret', 'neural_search_webhook_secret')")


def kicked(db):
    return db.execute("select neural_search.kick_due()").fetchone()[0]


def test_a_standby_model_that_nobody_loads_takes_one_kick_from_the_others(db, with_function):
    add(db, strategy="exact")
    db.execute(
        "insert into neural_search.jobs (object_id, model, version)"
        " select gen_random_uuid(), %s, '' from generate_series(1, 1000)",
        [TINY],
    )
    assert kicked(db) == 1
    db.execute("select public.claim_embedding_jobs(%s, 1)", [[TINY]])
    assert kicked(db) == 4
    db.execute("update neural_search.models set asked_at = now() - interval '11 minutes'")
    assert kicked(db) == 1


def test_jobs_that_nobody_wants_arent_kicked(db, with_function, make_object):
    make_object()
    db.execute("update neural_search.models set state = 'retired'")
    assert kicked(db) == 0


def test_a_claim_reads_past_none_of_the_jobs_of_a_model_that_it_cant_load(db, make_object):
    add(db, strategy="exact")
    object_id = make_object()
    db.execute(
        "insert into neural_search.jobs (object_id, model, version, next_attempt_at)"
        " select gen_random_uuid(), %s, '', now() - interval '1 hour' from generate_series(1, 20000)",
        [TINY],
    )
    with db.transaction():
        assert claimed(db, [MODEL]) == [MODEL]
        entries, whole_tables = db.execute("""
            select pg_stat_get_xact_tuples_returned('neural_search.jobs_due_idx'::regclass),
              pg_stat_get_xact_numscans('neural_search.jobs'::regclass)
        """).fetchone()
    assert entries <= 5 and whole_tables == 0
    assert finish(db, object_id, vector(1)) == "embedded"
