"""After an upgrade: an older decoder's refusals and possible mistakes are counted and repaired."""

from __future__ import annotations

import json
import uuid

import psycopg
import pytest
from support.databases import MODEL, as_role, vector
from support.first_release import ACTIVE, install_0_1_0

from cli.checks import schema
from cli.installer import migrations
from shared.errors import DatabaseError
from shared.images import DECODER_VERSION, mime_types
from shared.settings import load

OLD = json.dumps([1.0, *[0.0] * 1279])
NEW = json.dumps([0.0, 1.0, *[0.0] * 1278])
FINISH = """
select public.finish_embedding_job(
  object_id => o.id, model => %(model)s, object_version => o.version, embedding => %(embedding)s,
  content_hash => %(hash)s, width => 2, height => 3, mime_type => %(mime_type)s,
  decoder_version => %(decoder)s
) from storage.objects as o where o.name = %(name)s
"""
REUSE = """
select public.reuse_embedding(o.id, %s, o.version, 'hash', %s) from storage.objects as o where o.name = %s
"""
FAIL = """
select public.fail_embedding_job(c.object_id, c.model, c.lease_id, 'failed', %s, 'why', %s)
from storage.objects as o, public.claim_object(o.id, %s) as c where o.name = %s
"""
STORED = "select content, decoder_version from neural_search.documents order by content"
OUTDATED = "select name, mime_type, decoder_version, refused_for from neural_search.outdated order by name"


def finish(
    db, name, decoder=DECODER_VERSION, mime_type="image/png", embedding=None, model=MODEL, hash="hash"
):
    given = {"name": name, "decoder": decoder, "mime_type": mime_type, "model": model, "hash": hash}
    return db.execute(FINISH, given | {"embedding": embedding or vector(1)}).fetchone()[0]


def reuse(db, name, decoder):
    return db.execute(REUSE, [MODEL, decoder, name]).fetchone()[0]


def fail(db, name, cause, decoder, model=MODEL):
    return db.execute(FAIL, [cause, decoder, [model], name]).fetchone()[0]


def backfill(db, before, **more):
    named = "".join(f", {key} => {value}" for key, value in more.items())
    return db.execute(f"select public.backfill_documents(decoder_before => %s{named})", [before]).fetchone()[
        0
    ]


def searched(db):
    """The names that a search finds."""
    return {name for (name,) in db.execute("select content from public.match_documents(%s, -1)", [vector(1)])}


@pytest.fixture
def future(db):
    """The database of a later release, whose decoder changed GIFs once more."""
    db.execute("""
        create or replace function neural_search.decoder_changes()
        returns table (version integer, mime_types text[])
        language sql immutable as $$ values (2, null::text[]), (3, array['image/gif']) $$
    """)
    return db


def test_the_database_knows_every_version_of_the_decoder(db):
    changes = db.execute("select version, mime_types from neural_search.decoder_changes()").fetchall()
    assert [version for version, _ in changes] == list(range(2, DECODER_VERSION + 1))
    assert {name for _, names in changes for name in names or ()} <= {*mime_types.KNOWN}


def test_a_vector_is_not_taken_over_from_an_older_or_a_newer_decoder(db, make_object):
    make_object("a.png"), make_object("b.png")
    finish(db, "a.png", decoder=1)
    assert reuse(db, "b.png", DECODER_VERSION) == "unknown"
    assert reuse(db, "b.png", DECODER_VERSION + 1) == "unknown"  # a version that this database doesn't know
    assert reuse(db, "b.png", 1) == "embedded"
    assert [row[:2] for row in db.execute(STORED)] == [("a.png", 1), ("b.png", 1)]


def test_a_vector_is_taken_over_where_the_decoders_do_not_differ_for_its_format(future, make_object):
    make_object("a.gif"), make_object("b.gif")
    finish(future, "a.gif", decoder=2, mime_type="image/gif")
    assert reuse(future, "b.gif", 3) == "unknown"
    future.execute("update neural_search.documents set mime_type = 'image/png'")
    assert reuse(future, "b.gif", 3) == "embedded"
    assert [row[1] for row in future.execute(STORED)] == [2, 2]  # by which it was made


def test_a_copy_of_an_old_vector_does_not_hide_a_new_one(db, make_object):
    for name in ("a.png", "b.png", "c.png"):
        make_object(name)
    finish(db, "a.png", decoder=1)
    finish(db, "b.png")
    assert reuse(db, "c.png", DECODER_VERSION) == "embedded"
    assert [row[1] for row in db.execute(STORED)] == [1, DECODER_VERSION, DECODER_VERSION]


def test_only_what_the_newer_decoder_may_see_otherwise_is_embedded_anew(future, make_object):
    for name in ("a.gif", "b.png"):
        make_object(name)
        finish(future, name, decoder=2, mime_type=f"image/{name[-3:]}", hash=name)
    with as_role(future, "service_role"):
        assert backfill(future, 3, dry_run=True) == 1
        assert backfill(future, 3) == 1
        assert backfill(future, 3) == 0
    assert future.execute("select count(*) from neural_search.jobs").fetchone() == (1,)
    assert future.execute(OUTDATED).fetchall() == [("a.gif", "image/gif", 2, None)]


def test_what_waits_for_a_newer_vector_stays_searchable_and_in_the_queue(db, make_object):
    make_object("a.png")
    finish(db, "a.png", decoder=1)
    assert backfill(db, DECODER_VERSION) == 1
    db.execute("select public.reconcile_documents()")
    assert searched(db) == {"a.png"}
    assert finish(db, "a.png", embedding=vector(0.6, 0.8)) == "embedded"
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (0,)
    assert db.execute(OUTDATED).fetchall() == []


def test_a_job_whose_document_came_otherwise_is_still_tidied_away(db, make_object):
    make_object("a.png")
    finish(db, "a.png", decoder=1)
    backfill(db, DECODER_VERSION)
    db.execute("update neural_search.documents set decoder_version = %s", [DECODER_VERSION])
    db.execute("select public.reconcile_documents()")
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (0,)


def test_what_the_newer_decoder_refuses_is_taken_out_with_its_cause(db, make_object):
    make_object("a.png")
    finish(db, "a.png", decoder=1)
    backfill(db, DECODER_VERSION)
    assert fail(db, "a.png", "UnsupportedImage", DECODER_VERSION) == "failed"
    assert searched(db) == set()
    listed = db.execute("select name, state, error_class from public.list_embedding_jobs()").fetchall()
    assert listed == [("a.png", "failed", "UnsupportedImage")]
    assert db.execute(OUTDATED).fetchall() == []


def test_what_fails_by_no_fault_of_the_file_keeps_its_old_vector(db, make_object):
    make_object("a.png")
    finish(db, "a.png", decoder=1)
    backfill(db, DECODER_VERSION)
    assert fail(db, "a.png", "StorageRefused", None) == "failed"
    db.execute("select public.reconcile_documents()")
    assert searched(db) == {"a.png"}
    assert db.execute("select public.retry_embedding_jobs(causes => '{StorageRefused}')").fetchone() == (1,)


def test_an_overwrite_leaves_nothing_of_what_was_to_be_embedded_anew(db, make_object):
    make_object("a.png")
    finish(db, "a.png", decoder=1)
    backfill(db, DECODER_VERSION)
    make_object("a.png")
    assert db.execute("select decoder_before from neural_search.jobs").fetchall() == [(None,)]
    assert searched(db) == set()


def test_a_version_that_there_is_not_yet_is_refused(db):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"expected at most {DECODER_VERSION}"):
        backfill(db, DECODER_VERSION + 1)


def test_only_the_named_causes_are_tried_again(db, make_object):
    for name, cause in (("a.png", "BrokenImage"), ("b.png", "NotAnImage"), ("c.png", "EmptyImage")):
        make_object(name)
        fail(db, name, cause, 1)
    with as_role(db, "service_role"):
        retried = db.execute("select public.retry_embedding_jobs(causes => '{BrokenImage,NotAnImage}')")
        assert retried.fetchone() == (2,)
    waiting = db.execute("select state, decoder_version from neural_search.jobs order by state").fetchall()
    assert waiting == [("failed", 1), ("pending", None), ("pending", None)]


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_callers_may_neither_look_nor_repair(db, role):
    for statement in (OUTDATED, "select public.backfill_documents(decoder_before => 2)"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), as_role(db, role):
            db.execute(statement)


def test_an_upgrade_with_such_files_stored_is_repaired(bare_database, monkeypatch):
    install_0_1_0(bare_database)
    with bare_database.connect() as old:
        old.execute("insert into storage.buckets (id, name) values ('images', 'images')")
        old.execute("select public.index_bucket('images')")
        for name, kind in (
            ("wrong.tif", "image/tiff"),
            ("icon.ico", "image/x-icon"),
            ("cut.jpg", "image/jpeg"),
        ):
            metadata = json.dumps({"mimetype": kind, "size": 9})
            old.execute(
                "insert into storage.objects (bucket_id, name, version, metadata)"
                " values ('images', %s, %s, %s)",
                [name, str(uuid.uuid4()), metadata],
            )
        old.execute(
            "select public.finish_embedding_job(id, %s, version, %s, 'hash', 2, 3, 'image/tiff')"
            " from storage.objects where name = 'wrong.tif'",
            [ACTIVE, OLD],
        )
        for name, cause in (("icon.ico", "NotAnImage"), ("cut.jpg", "BrokenImage")):
            refuse = FAIL.replace(", 'why', %s)", ", 'why')")
            assert old.execute(refuse, [cause, [ACTIVE], name]).fetchone() == ("failed",)
    migrations.apply(bare_database.url())

    monkeypatch.setenv("DATABASE_URL", bare_database.url())
    target = load()
    with pytest.raises(DatabaseError) as told:
        schema.decoder(target)
    assert str(told.value) == (
        "An older decoder refused 1 image/jpeg (BrokenImage), 1 image/x-icon (NotAnImage): "
        "`neural-search jobs retry --cause BrokenImage --cause NotAnImage`. "
        "An older decoder may have got wrong 1 image/tiff: "
        f"`neural-search backfill --decoder-before {DECODER_VERSION}`."
    )

    with bare_database.connect() as upgraded:
        assert upgraded.execute(
            "select public.retry_embedding_jobs(causes => '{BrokenImage,NotAnImage}')"
        ).fetchone() == (2,)
        assert backfill(upgraded, DECODER_VERSION) == 1
        for name in ("wrong.tif", "icon.ico"):
            assert finish(upgraded, name, model=ACTIVE, embedding=NEW, mime_type="image/png") == "embedded"
        assert fail(upgraded, "cut.jpg", "IncompleteImage", DECODER_VERSION, ACTIVE) == "failed"
        stored = upgraded.execute(
            "select content, decoder_version, embedding = %s from neural_search.documents", [NEW]
        )
        assert sorted(stored.fetchall()) == [
            ("icon.ico", DECODER_VERSION, True),
            ("wrong.tif", DECODER_VERSION, True),
        ]
    assert schema.decoder(target) == f"version {DECODER_VERSION}, and nothing is left from an older one"
