"""Identical bytes are embedded once: a document's vector is taken over, and goes with the last of them."""

from __future__ import annotations

import json
import uuid

import psycopg
import pytest
from support.databases import MODEL, as_role, vector

HASH = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"
FINISH = """
select public.finish_embedding_job(%(id)s, %(model)s,
  (select version from storage.objects where id = %(id)s), %(embedding)s, %(hash)s, 20, 30, 'image/webp',
  %(bits)s)
"""
REUSE = """
select public.reuse_embedding(%(id)s, %(model)s,
  coalesce(%(version)s, (select version from storage.objects where id = %(id)s)), %(hash)s)
"""


def embed(db, object_id, **changes):
    given = {"id": object_id, "model": MODEL, "hash": HASH, "embedding": vector(0.6, 0.8), "bits": "01" * 32}
    assert db.execute(FINISH, given | changes).fetchone() == ("embedded",)


def reuse(db, object_id, **changes):
    given = {"id": object_id, "model": MODEL, "hash": HASH, "version": None}
    return db.execute(REUSE, given | changes).fetchone()[0]


def test_a_copy_takes_over_the_vector_and_all_that_the_bytes_tell(db, make_object):
    db.execute("insert into storage.buckets (id, name) values ('other', 'other')")
    db.execute("select public.index_bucket('other')")
    first, copy = make_object("a.png"), make_object("b.webp", bucket="other", owner_id="somebody")
    embed(db, first)
    db.execute("update neural_search.documents set shown = 0.75")
    with as_role(db, "service_role"):
        assert reuse(db, copy) == "embedded"
    same = "embedding, content_hash, width, height, mime_type, perceptual_hash, byte_size, shown"
    rows = db.execute(
        f"select row({same}), d.bucket_id, d.content, d.owner_id, d.object_version = o.version"
        " from neural_search.documents as d join storage.objects as o on o.id = d.object_id order by d.id"
    ).fetchall()
    assert rows[0][0] == rows[1][0] and HASH in rows[0][0]
    assert [row[1:] for row in rows] == [
        ("images", "a.png", None, True),
        ("other", "b.webp", "somebody", True),
    ]
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (0,)


def test_nothing_is_taken_over_from_other_bytes_or_another_model(db, make_object):
    db.execute("insert into neural_search.models (name, dimensions) values ('tiny', 2)")
    first, copy = make_object(), make_object()
    assert reuse(db, copy) == "unknown"
    embed(db, first)
    assert reuse(db, copy, hash="0" * 64) == "unknown"
    assert reuse(db, copy, model="tiny") == "unknown"
    assert db.execute("select count(*) from neural_search.documents").fetchone() == (1,)


def test_bytes_that_the_object_no_longer_has_are_not_given_a_vector(db, make_object):
    first, copy = make_object("a.png"), make_object("b.png")
    embed(db, first)
    version = db.execute("select version from storage.objects where id = %s", [copy]).fetchone()[0]
    make_object("b.png")
    assert reuse(db, copy, version=version) == "superseded"
    db.execute("set storage.allow_delete_query = 'true'")
    db.execute("delete from storage.objects where id = %s", [copy])
    assert reuse(db, copy, version=version) == "gone"
    assert db.execute("select object_id from neural_search.documents").fetchall() == [(first,)]


def test_what_is_kept_for_reuse_is_gone_with_the_last_object_that_has_these_bytes(db, make_object):
    first, copy = make_object("a.png"), make_object("b.png")
    embed(db, first)
    assert reuse(db, copy) == "embedded"
    db.execute("set storage.allow_delete_query = 'true'")
    db.execute("delete from storage.objects where id = %s", [first])
    assert reuse(db, make_object("c.png")) == "embedded"
    assert traces(db) == {"neural_search.documents"}
    db.execute("delete from storage.objects")
    assert traces(db) == set()
    assert reuse(db, make_object("d.png")) == "unknown"


def traces(db):
    """Every table of ours, and of the queue of calls, in which the hash or the vector can be found."""
    tables = db.execute("""
        select format('%I.%I', schemaname, tablename) from pg_tables
        where schemaname in ('public', 'neural_search', 'net')
    """).fetchall()
    begins = json.dumps([0.6, 0.8])[:-1].replace(" ", "")
    found = "select exists (select from {} as t where to_jsonb(t)::text like any (%s))"
    return {
        table
        for (table,) in tables
        if db.execute(found.format(table), [[f"%{HASH}%", f"%{begins}%"]]).fetchone()[0]
    }


@pytest.mark.parametrize("claim", ["claim_embedding_jobs(%s)", "claim_object(%s, %s)"])
def test_a_claim_tells_which_bytes_of_this_size_are_known(db, make_object, claim):
    metadata = psycopg.types.json.Jsonb
    told = f"select known_hashes from public.{claim}"

    def ask(object_id):
        arguments = [[MODEL]] if "jobs" in claim else [object_id, [MODEL]]
        return db.execute(told, arguments).fetchall()

    first = make_object(metadata=metadata({"size": 1234}))
    assert ask(first) == [([],)]
    embed(db, first)
    assert ask(make_object(metadata=metadata({"size": 1234}))) == [([HASH],)]
    assert ask(make_object(metadata=metadata({"size": 1235}))) == [([],)]
    assert ask(make_object(metadata=metadata({}))) == [(None,)]
    for number in range(50):
        embed(db, make_object(metadata=metadata({"size": 1234})), hash=f"{number:064}")
    assert ask(make_object(metadata=metadata({"size": 1234}))) == [(None,)]


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_no_caller_can_ask_whether_bytes_are_known(db, make_object, role):
    object_id = make_object()
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_role(db, role):
        db.execute(
            "select public.reuse_embedding(%s, %s, 'v1', %s)", [object_id or uuid.uuid4(), MODEL, HASH]
        )


def test_looking_for_a_copy_reads_an_index_and_no_table(db, make_object):
    embed(db, make_object())
    with db.transaction():
        db.execute("set local enable_seqscan = off")  # which a table this small would prefer
        plan = db.execute(
            "explain select from neural_search.documents where content_hash = %s and model = %s",
            [HASH, MODEL],
        ).fetchall()
    assert "documents_content_hash_idx" in str(plan)
