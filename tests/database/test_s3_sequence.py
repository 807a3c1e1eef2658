"""The statements of Storage's S3 protocol on storage.objects, and the triggers' answer.

The gateway doesn't speak S3. Its uploads always upsert; each request asks the policies first by a statement
as the caller that is rolled back; the row is written as Storage's own role when the bytes are stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import Rollback
from psycopg.types.json import Jsonb
from support.databases import Clone, Connection, as_role

UPSERT = """
insert into storage.objects (bucket_id, name, version, metadata, owner_id)
values (%(bucket)s, %(name)s, %(version)s, %(metadata)s, %(owner)s)
on conflict (name, bucket_id) do update set
  version = excluded.version, metadata = excluded.metadata, owner_id = excluded.owner_id
returning id
"""
USER = "00000000-0000-4000-8000-000000000001"
JOBS = "select object_id, version, state from neural_search.jobs order by version"
DOCUMENTS = "select object_id, content, object_version from neural_search.documents"


class S3:
    """The protocol's requests, as their statements."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def probe(self, name: str, bucket: str = "images") -> None:
        """May the caller write here? The statement is run in earnest, and taken back."""
        with as_role(self._connection, "authenticated", {"sub": USER}) as caller:
            self._upsert(caller, bucket, name, version="1", metadata={"mimetype": "image/png"})
            raise Rollback

    def complete(self, name: str, version: str, bucket: str = "images", parts: int = 1) -> uuid.UUID:
        """The bytes are stored: the row, in one transaction, under the object's lock."""
        etag = f'"{uuid.uuid4().hex}-{parts}"'
        with as_role(self._connection, "service_role") as storage:
            key = f"{bucket}/{name}"
            storage.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
            storage.execute(
                "select id, version from storage.objects where bucket_id = %s and name = %s for update",
                [bucket, name],
            )
            metadata = {"eTag": etag, "size": 3, "mimetype": "image/png", "httpStatusCode": 200}
            return self._upsert(storage, bucket, name, version, metadata)

    def delete(self, *names: str) -> None:
        with as_role(self._connection, "authenticated", {"sub": USER}) as caller:
            caller.execute("select set_config('storage.allow_delete_query', 'true', true)")
            caller.execute(
                "delete from storage.objects where bucket_id = 'images' and name = any(%s)", [list(names)]
            )

    def put(self, name: str, version: str) -> uuid.UUID:
        self.probe(name)
        return self.complete(name, version)

    def put_in_parts(self, name: str, version: str, parts: int = 3) -> uuid.UUID:
        """CreateMultipartUpload, one UploadPart each, CompleteMultipartUpload: each of them asks first."""
        for _ in range(1 + parts + 1):
            self.probe(name)
        return self.complete(name, version, parts=parts)

    def _upsert(
        self, connection: Connection, bucket: str, name: str, version: str, metadata: dict[str, Any]
    ) -> uuid.UUID:
        values = {
            "bucket": bucket,
            "name": name,
            "version": version,
            "metadata": Jsonb(metadata),
            "owner": USER,
        }
        ((identity,),) = connection.execute(UPSERT, values)
        return identity


@pytest.fixture
def s3(database: Clone) -> Iterator[S3]:
    with database.connect("supabase_storage_admin") as connection:
        yield S3(connection)


@pytest.fixture
def kicks(db: Connection) -> Callable[[], int]:
    """How many calls of the function were asked for."""
    db.execute("select vault.create_secret('http://127.0.0.1/embed', 'neural_search_embed_url')")
    db.execute("select vault.create_secret('secret', 'neural_search_webhook_secret')")

    def count() -> int:
        ((number,),) = db.execute("select count(*) from net.http_request_queue")
        return int(number)

    return count


def test_put_object_makes_one_job(db, s3, kicks):
    object_id = s3.put("a.png", "v1")
    assert db.execute(JOBS).fetchall() == [(object_id, "v1", "pending")]
    assert kicks() == 1


def test_the_probes_of_a_multipart_upload_leave_nothing_behind(db, s3, kicks):
    for _ in range(5):
        s3.probe("a.png")
    assert db.execute("select count(*) from storage.objects").fetchone() == (0,)
    assert db.execute(JOBS).fetchall() == []
    assert kicks() == 0


def test_a_multipart_upload_makes_one_job_when_it_completes(db, s3, kicks):
    object_id = s3.put_in_parts("a.png", "v1")
    assert db.execute(JOBS).fetchall() == [(object_id, "v1", "pending")]
    assert kicks() == 1


def test_the_probes_over_an_object_leave_its_document_alone(db, s3, make_document):
    object_id = make_document("a.png", version="v1")
    for _ in range(3):
        s3.probe("a.png")
    assert db.execute(DOCUMENTS).fetchall() == [(object_id, "a.png", "v1")]
    assert db.execute(JOBS).fetchall() == []


@pytest.mark.parametrize("request_name", ["put", "put_in_parts"])
def test_an_overwrite_keeps_the_id_and_takes_the_document_out(db, s3, kicks, make_document, request_name):
    object_id = make_document("a.png", version="v1")
    before = kicks()
    assert getattr(s3, request_name)("a.png", "v2") == object_id
    assert db.execute(DOCUMENTS).fetchall() == []
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending")]
    assert kicks() == before + 1


def test_a_copy_is_an_object_of_its_own(db, s3, make_document):
    object_id = make_document("a.png", version="v1")
    copy_id = s3.put("copy.png", "v2")
    assert copy_id != object_id
    assert db.execute(DOCUMENTS).fetchall() == [(object_id, "a.png", "v1")]
    assert db.execute(JOBS).fetchall() == [(copy_id, "v2", "pending")]


def test_a_copy_over_an_object_is_an_overwrite(db, s3, make_document):
    object_id = make_document("copy.png", version="v1")
    assert s3.put("copy.png", "v2") == object_id
    assert db.execute(DOCUMENTS).fetchall() == []
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending")]


def test_delete_objects_takes_documents_and_jobs_along(db, s3, make_document):
    make_document("a.png")
    s3.put("b.png", "v1")
    s3.delete("a.png", "b.png", "none.png")
    assert db.execute(DOCUMENTS).fetchall() == db.execute(JOBS).fetchall() == []


def test_an_upload_of_parts_that_another_upload_overtakes_ends_with_the_last_to_complete(db, s3):
    s3.probe("a.png")  # CreateMultipartUpload
    s3.probe("a.png")  # UploadPart
    object_id = s3.put("a.png", "v1")  # another client
    s3.probe("a.png")  # CompleteMultipartUpload
    s3.complete("a.png", "v2")
    assert db.execute(JOBS).fetchall() == [(object_id, "v2", "pending")]
