"""Webhook bodies: read leniently where it does no harm, refused with the expectation where it does."""

from __future__ import annotations

import json
import uuid

import pytest

from shared.errors import InvalidPayload
from shared.indexing.webhook import Kick, ObjectChanged, ObjectDeleted, parse

OBJECT_ID = str(uuid.UUID(int=7))
ROW = {"id": OBJECT_ID, "bucket_id": "images", "name": "a/b.png", "a column of tomorrow": 1}


def webhook(**changes: object) -> bytes:
    body = {"type": "INSERT", "schema": "storage", "table": "objects", "record": ROW, "old_record": None}
    return json.dumps(body | changes).encode()


@pytest.mark.parametrize("kind", ["INSERT", "UPDATE"])
def test_an_upload_and_an_overwrite_name_the_object(kind: str):
    assert parse(webhook(type=kind)) == ObjectChanged(object_id=OBJECT_ID)


def test_a_deletion_is_read_from_the_old_record():
    event = parse(webhook(type="DELETE", record=None, old_record=ROW))
    assert event == ObjectDeleted(object_id=OBJECT_ID, bucket_id="images", name="a/b.png")


def test_unknown_keys_are_no_error():
    assert parse(webhook(user_id="somebody")) == ObjectChanged(object_id=OBJECT_ID)


def test_a_kick_has_a_limit():
    assert parse(b'{"type": "KICK", "limit": 3}') == Kick(limit=3)
    assert parse(b'{"type": "KICK"}') == Kick(limit=50)
    assert parse(b'{"type": "KICK", "wait": false}') == Kick(limit=50, wait=False)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "isn't JSON"),
        (b"\xff\xfe", "isn't JSON"),
        (b"{", "isn't JSON"),
        (b"[" * 100_000, "isn't JSON"),
        (b"[]", "JSON, but no object"),
        (b"null", "JSON, but no object"),
        (b"{}", "type is None. Expected one of: INSERT, UPDATE, DELETE, KICK"),
        (webhook(type="TRUNCATE"), "type is 'TRUNCATE'"),
        (webhook(type=["INSERT"]), "type is \\['INSERT'\\]"),
        (
            webhook(table="buckets"),
            "for storage.buckets. Make it for the table objects in the schema storage",
        ),
        (webhook(schema="public"), "for public.objects"),
        (webhook(record=None), "record is None. Expected the row of storage.objects for INSERT"),
        (webhook(type="DELETE"), "old_record is None"),
        (webhook(record={}), "id is None. Expected a uuid"),
        (webhook(record={"id": 7}), "id is 7"),
        (webhook(record={"id": "seven"}), "id is 'seven'"),
        (b'{"type": "KICK", "limit": 0}', "limit is 0. Expected a whole number from 1 to 1000"),
        (b'{"type": "KICK", "limit": true}', "limit is True"),
        (b'{"type": "KICK", "wait": "no"}', "wait is 'no'. Expected true or false"),
        (b'{"type": "KICK", "limit": "9"}', "limit is '9'"),
        (b'{"type": "KICK", "limit": 1001}', "limit is 1001"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_what_was_expected(body: bytes, said: str):
    with pytest.raises(InvalidPayload, match=said):
        parse(body)
