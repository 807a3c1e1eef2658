"""The soak's checker can fail: it finds planted faults, and nothing where nothing is wrong."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import pytest
from soak.invariants import GHOST, LOST, WRONG, check, terminal, unsettled
from support.databases import DIMENSIONS, MODEL, finish, vector

from shared.testing import ColourEmbedder, picture

RED, BLUE = picture("red"), picture("blue")
EMBEDDER = ColourEmbedder(MODEL, DIMENSIONS)


@pytest.fixture
def stored() -> dict[str, bytes]:
    """Storage's bytes by bucket/name."""
    return {}


@pytest.fixture
def upload(make_object, stored):
    """An object with these bytes; its id."""

    def upload(name: str, data: bytes = RED, bucket: str = "images") -> uuid.UUID:
        stored[f"{bucket}/{name}"] = data
        return make_object(name, bucket)

    return upload


@pytest.fixture
def embedded(db, upload):
    """An object whose document is right."""

    def embedded(name: str, data: bytes = RED) -> uuid.UUID:
        object_id = upload(name, data)
        assert finish(db, object_id, vector(*EMBEDDER.embed_images([data])[0][:4].tolist())) == "embedded"
        set_document(db, object_id, content_hash=hashlib.sha256(data).hexdigest())
        return object_id

    return embedded


@pytest.fixture
def judge(db, stored):
    def judge(**options: Any):
        def read(bucket: str, name: str) -> bytes | None:
            return stored.get(f"{bucket}/{name}")

        verdict = check(db, read, lambda: explanations(db), EMBEDDER.embed_images, **options)
        return verdict, sorted((violation.kind, violation.place) for violation in verdict.violations)

    return judge


def explanations(db):
    columns = ("object_id", "model", "state", "error_class", "error_message")
    rows = db.execute(f"select {', '.join(columns)} from public.list_embedding_jobs()").fetchall()
    return terminal(dict(zip(columns, row, strict=True)) for row in rows)


def set_document(db, object_id, /, **columns: Any) -> None:
    changes = ", ".join(f"{column} = %({column})s" for column in columns)
    db.execute(
        f"update neural_search.documents set {changes} where object_id = %(target)s",
        {"target": object_id, **columns},
    )


def end_job(db, object_id, outcome: str, error_class: str) -> None:
    change = "update neural_search.jobs set state = %s, error_class = %s, error_message = 'told'"
    db.execute(f"{change} where object_id = %s", [outcome, error_class, object_id])


def test_nothing_is_found_where_nothing_is_wrong(db, embedded, upload, judge):
    embedded("red.png")
    embedded("blue.png", BLUE)
    end_job(db, upload("page.jpg", b"<html>"), "skipped", "NotAnImage")
    verdict, found = judge()
    assert found == []
    assert (verdict.objects, verdict.documents, verdict.vectors) == (3, 2, 2)
    assert dict(verdict.explained) == {"NotAnImage": 1}
    assert verdict.given_up == ()
    assert unsettled(db, lambda: explanations(db)) == 0


def test_an_object_with_nothing_is_lost(db, embedded, upload, judge):
    embedded("here.png")
    db.execute("delete from neural_search.jobs where object_id = %s", [upload("gone.png")])
    assert judge()[1] == [(LOST, "images/gone.png")]
    assert unsettled(db, lambda: explanations(db)) == 1


def test_a_job_that_waits_is_no_explanation(upload, judge):
    upload("waits.png")
    assert judge()[1] == [(LOST, "images/waits.png")]


def test_a_sound_image_that_counts_as_broken_is_lost(db, upload, judge):
    end_job(db, upload("sound.png"), "failed", "BrokenImage")
    assert judge()[1] == [(LOST, "images/sound.png")]


def test_a_sound_image_that_was_given_up_for_another_cause_is_told(db, upload, judge):
    end_job(db, upload("unlucky.png"), "failed", "LeaseExpired")
    verdict, found = judge()
    assert found == []
    assert verdict.given_up == ("images/unlucky.png: LeaseExpired: told",)


def test_an_object_without_bytes_is_lost(db, upload, stored, judge):
    end_job(db, upload("empty.png"), "failed", "ObjectNotFound")
    stored.clear()
    assert judge()[1] == [(LOST, "images/empty.png")]


def test_an_object_in_a_bucket_that_is_not_indexed_is_nobodys_concern(db, upload, judge):
    db.execute("insert into storage.buckets (id, name) values ('other', 'other')")
    upload("other.png", bucket="other")
    assert judge()[1] == []


def test_a_document_without_an_object_is_a_ghost(db, embedded, judge):
    embedded("here.png")
    set_document(db, embedded("was.png"), object_id=uuid.uuid4())
    assert judge()[1] == [(GHOST, "images/was.png"), (LOST, "images/was.png")]


def test_a_second_document_of_an_object_is_a_ghost(db, embedded, judge):
    embedded("twice.png")
    db.execute("alter table neural_search.documents drop constraint documents_object_id_model_key")
    columns = "object_id, bucket_id, content, model, embedding, object_version, content_hash"
    db.execute(
        f"insert into neural_search.documents ({columns}) select {columns} from neural_search.documents"
    )
    assert judge()[1] == [(GHOST, "images/twice.png")]


def test_a_document_in_a_bucket_that_is_not_indexed_any_more_is_a_ghost(db, embedded, judge):
    embedded("here.png")
    db.execute("delete from neural_search.buckets")
    assert judge()[1] == [(GHOST, "images/here.png")]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("content_hash", "0" * 64),
        ("object_version", "older"),
        ("content", "elsewhere.png"),
        ("bucket_id", "other"),
    ],
)
def test_a_document_that_tells_of_something_else_is_wrong(db, embedded, judge, column, value):
    set_document(db, embedded("here.png"), **{column: value})
    verdict, [(kind, _)] = judge()
    assert kind == WRONG
    assert value in verdict.violations[0].found


def test_bytes_that_changed_under_their_document_are_seen(embedded, stored, judge):
    embedded("here.png")
    stored["images/here.png"] = BLUE
    assert judge()[1] == [(WRONG, "images/here.png")]


def test_bytes_that_vanished_under_their_document_are_seen(embedded, stored, judge):
    embedded("here.png")
    stored.clear()
    assert judge()[1] == [(WRONG, "images/here.png")]


def test_the_vector_of_other_bytes_under_the_right_hash_is_seen(db, embedded, judge):
    embedded("other.png")
    blue = vector(*EMBEDDER.embed_images([BLUE])[0][:4].tolist())
    set_document(db, embedded("here.png"), embedding=blue)
    assert judge()[1] == [(WRONG, "images/here.png")]
    assert judge(sample=0)[1] == []
