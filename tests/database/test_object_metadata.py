"""Objects whose metadata are out of all proportion cost little, and stop nobody's work."""

from __future__ import annotations

import json

import pytest
from psycopg.types.json import Jsonb
from support.databases import MODEL, as_role, finish, vector

MANY = 300_000
CLAIMS = {
    "claim_embedding_jobs": "select c.object_id, to_jsonb(c) from public.claim_embedding_jobs(%s, 10) as c",
    "claim_object": """
        select c.object_id, to_jsonb(c) from storage.objects as o
        cross join lateral public.claim_object(o.id, %s) as c
    """,
}
RECONCILE = "select * from public.reconcile_documents()"
# How often this transaction has read values that are kept outside of the objects' rows.
WIDE_READS = """
    select pg_stat_get_xact_numscans(i.indexrelid)
    from pg_class as c join pg_index as i on i.indrelid = c.reltoastrelid
    where c.oid = 'storage.objects'::regclass
"""


def facts(**changed):
    return {"eTag": '"tag"', "size": 3, "mimetype": "image/png", **changed}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("key", ["mimetype", "eTag", "size", "another"])
def test_a_claim_answers_no_value_of_any_length(db, make_object, claim, key):
    """A claim whose answer is too long to be read would come back for ever, and stop all others."""
    odd = make_object("odd.png", metadata=Jsonb(facts(**{key: "A" * MANY})))
    wide = make_object("wide.png", metadata=Jsonb(facts(**{key: [str(n) for n in range(MANY // 10)]})))
    good = make_object("good.png")
    rows = dict(db.execute(CLAIMS[claim], [[MODEL]]).fetchall())
    assert rows.keys() == {odd, wide, good}
    assert max(len(json.dumps(row)) for row in rows.values()) < 1000
    assert (rows[good]["size"], rows[good]["mime_type"]) == (3, "image/png")
    for one in rows:
        assert finish(db, one, vector(1)) == "embedded"
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize(
    ("key", "name", "kept", "lost"),
    [
        ("mimetype", "mime_type", "image/" + "x" * 249, "image/" + "x" * 250),
        ("eTag", "etag", "e" * 255, "e" * 256),
    ],
)
def test_a_value_that_is_too_long_is_as_none(db, make_object, claim, key, name, kept, lost):
    short, long = (make_object(metadata=Jsonb(facts(**{key: value}))) for value in (kept, lost))
    rows = dict(db.execute(CLAIMS[claim], [[MODEL]]).fetchall())
    assert rows[short][name] == kept
    assert rows[long][name] is None
    assert rows[long]["size"] == 3


def test_a_claim_that_waits_tells_no_long_value_either(db, make_object):
    odd = make_object(metadata=Jsonb(facts(mimetype="A" * MANY)))
    db.execute(CLAIMS["claim_object"], [[MODEL]])
    ((_, row),) = db.execute(CLAIMS["claim_object"], [[MODEL]]).fetchall()
    assert (row["object_id"], row["status"], row["mime_type"]) == (str(odd), "waiting", None)


def test_a_report_of_what_an_older_decoder_refused_tells_no_long_type(db, make_object):
    make_object(metadata=Jsonb(facts(mimetype="A" * MANY)))
    assert db.execute("select mime_type from neural_search.progress").fetchall() == [(None,)]


def test_a_move_brings_metadata_along_whatever_else_there_is(db, make_document):
    make_document("a.png", user_metadata=Jsonb({"album": "old"}))
    db.execute("update storage.objects set name = 'b.png', version = 'moved'")
    copied = "select content, metadata from neural_search.documents"
    assert db.execute(copied).fetchall() == [("b.png", {"album": "old"})]
    db.execute(
        "update storage.objects set metadata = metadata || jsonb_build_object('a', repeat('A', 2000000))"
    )
    db.execute("update storage.objects set name = 'c.png', version = 'moved again'")
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (
        1,
    )  # nothing tells that it is the same file


def test_states_of_objects_are_told_without_reading_their_metadata(database, db, silent, make_object):
    """Anybody may ask for a thousand at a time, and each may have a megabyte."""
    names = [f"{number}.png" for number in range(20)]
    for name in names:
        make_object(name)
    noise = (
        "select jsonb_build_object('n', string_agg(md5(random()::text), '')) from generate_series(1, 9000)"
    )
    silent.execute(f"update storage.objects set metadata = ({noise}), user_metadata = ({noise})")
    with database.connect() as connection, connection.transaction():
        with as_role(connection, "anon"):
            asked = "select state from public.object_states('images', %s)"
            assert connection.execute(asked, [names]).fetchall() == [("pending",)] * len(names)
        assert connection.execute(WIDE_READS).fetchone() == (0,)


def lose(db, seconds):
    """A claim of one object whose answer was lost; whether there was one."""
    db.execute("update neural_search.jobs set next_attempt_at = now() where state = 'pending'")
    claim = """
        select c.claim_id from gen_random_uuid() as c (claim_id),
          public.claim_embedding_jobs(%s, 1, 120, c.claim_id)
    """
    claims = [claim_id for (claim_id,) in db.execute(claim, [[MODEL]])]
    lost = (
        "select public.release_embedding_jobs('{}', %s, 'DatabaseUnavailable', 'too long', claim_ids => %s)"
    )
    assert db.execute(lost, [seconds, claims]).fetchone() == (len(claims),)
    return bool(claims)


STATE = "select state, attempts, faults, error_message from neural_search.jobs"


def test_an_object_whose_claims_are_never_read_fails_in_the_end(db, make_object):
    make_object()
    assert all(lose(db, 15) for _ in range(8))  # about 20 minutes: an outage may last as long
    assert db.execute(STATE).fetchone() == ("pending", 0, 8, "too long")
    assert all(lose(db, 15) for _ in range(5))
    assert not lose(db, 15)
    assert db.execute(STATE).fetchone() == ("failed", 5, 13, "too long")


def test_a_claim_of_several_that_is_lost_charges_nobody_however_often(db, make_object):
    make_object()
    assert all(lose(db, 0) for _ in range(20))
    db.execute("update neural_search.jobs set faults = 20")
    assert all(lose(db, 0) for _ in range(5))
    assert db.execute(STATE).fetchone() == ("pending", 0, 20, "too long")
