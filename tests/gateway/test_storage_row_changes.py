"""Which row changes each call of a client commits, and its answer, as observed on a real server."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from storage3.exceptions import StorageApiError
from support.databases import Connection
from support.gateways import Gateway
from support.waiting import eventually

PNG = b"\x89PNG first"
OTHER = b"\x89PNG second"
OPTIONS = {"content-type": "image/png"}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
Changes = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def changes(db: Connection, bucket: str) -> Iterator[Changes]:
    """The row changes in the bucket that were committed since the last look."""
    table, function = "public.changes", "public.record_change"
    db.execute(
        f"create table {table} (place bigint generated always as identity, op text, old jsonb, new jsonb)"
    )
    db.execute(
        f"""create function {function}() returns trigger language plpgsql security definer as $$ begin
        insert into {table} (op, old, new) values (tg_op, to_jsonb(old), to_jsonb(new));
        return null; end $$"""
    )
    db.execute(
        "create trigger record_change after insert or update or delete on storage.objects "
        f"for each row execute function {function}()"
    )

    def look() -> list[dict[str, Any]]:
        rows = db.execute(f"delete from {table} returning place, op, old, new").fetchall()
        return [{"op": op, "old": old, "new": new} for _, op, old, new in sorted(rows)]

    yield look
    db.execute(f"drop trigger record_change on storage.objects; drop function {function}; drop table {table}")


def test_a_new_object_is_one_insert_with_the_metadata_of_its_bytes(
    gateway: Gateway, bucket: str, changes: Changes
) -> None:
    files = {"file": ("b.png", PNG, "image/png")}
    with gateway.http() as http:
        answer = http.post(f"/storage/v1/object/{bucket}/a/b.png", files=files, data={"cacheControl": "3600"})

    (change,) = changes()
    row = change["new"]
    assert change["op"] == "INSERT"
    assert answer.status_code == 200
    assert answer.json() == {"Key": f"{bucket}/a/b.png", "Id": row["id"]}
    assert UUID.fullmatch(row["version"])
    assert row["user_metadata"] == {}
    metadata = row["metadata"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", metadata.pop("lastModified"))
    assert metadata == {
        "eTag": f'"{hashlib.md5(PNG).hexdigest()}"',
        "size": len(PNG),
        "mimetype": "image/png",
        "cacheControl": "max-age=3600",
        "contentLength": len(PNG),
        "httpStatusCode": 200,
    }


def test_the_same_path_without_upsert_changes_nothing(
    gateway: Gateway, bucket: str, changes: Changes
) -> None:
    gateway.supabase().storage.from_(bucket).upload("b.png", PNG, OPTIONS)
    changes()
    files = {"file": ("b.png", OTHER, "image/png")}
    with gateway.http() as http:
        answer = http.post(f"/storage/v1/object/{bucket}/b.png", files=files)

    assert changes() == []
    assert answer.status_code == 400
    assert answer.json() == {
        "statusCode": "409",
        "error": "Duplicate",
        "message": "The resource already exists",
        "code": "KeyAlreadyExists",
    }
    assert gateway.supabase().storage.from_(bucket).download("b.png") == PNG


@pytest.mark.parametrize("method", ["upsert", "put"])
def test_an_overwrite_is_one_update_that_keeps_the_id(
    gateway: Gateway, bucket: str, changes: Changes, method: str
) -> None:
    images = gateway.supabase().storage.from_(bucket)
    images.upload("b.png", PNG, OPTIONS)
    changes()
    if method == "upsert":
        images.upload("b.png", OTHER, {**OPTIONS, "upsert": "true"})
    else:
        images.update("b.png", OTHER, OPTIONS)

    (change,) = changes()
    assert change["op"] == "UPDATE"
    assert change["new"]["id"] == change["old"]["id"]
    assert change["new"]["version"] != change["old"]["version"]
    assert change["new"]["metadata"]["eTag"] == f'"{hashlib.md5(OTHER).hexdigest()}"'
    assert images.download("b.png") == OTHER


def test_a_move_is_one_update_with_a_new_name_and_version(
    gateway: Gateway, bucket: str, changes: Changes
) -> None:
    images = gateway.supabase().storage.from_(bucket)
    images.upload("b.png", PNG, OPTIONS)
    changes()
    answer = images.move("b.png", "c/d.png")

    (change,) = changes()
    old, new = change["old"], change["new"]
    assert change["op"] == "UPDATE"
    assert answer == {"message": "Successfully moved"}
    assert (new["id"], new["name"]) == (old["id"], "c/d.png")
    assert new["version"] != old["version"]
    assert new["metadata"]["eTag"] == old["metadata"]["eTag"]
    assert images.download("c/d.png") == PNG
    assert not images.exists("b.png")


def test_a_copy_is_one_insert_with_an_id_of_its_own(gateway: Gateway, bucket: str, changes: Changes) -> None:
    images = gateway.supabase().storage.from_(bucket)
    images.upload("b.png", PNG, {**OPTIONS, "metadata": {"camera": "K1"}})
    (original,) = changes()
    answer = images.copy("b.png", "c.png")

    (change,) = changes()
    new = change["new"]
    assert change["op"] == "INSERT"
    assert new["id"] != original["new"]["id"]
    assert new["metadata"]["eTag"] == original["new"]["metadata"]["eTag"]
    assert new["user_metadata"] == {"camera": "K1"}
    assert (answer["Key"], answer["Id"], answer["version"]) == (f"{bucket}/c.png", new["id"], new["version"])
    assert images.download("c.png") == PNG


def test_a_missing_object_is_a_400_that_says_404(gateway: Gateway, bucket: str) -> None:
    with gateway.http() as http:
        answer = http.get(f"/storage/v1/object/{bucket}/none.png")

    assert answer.status_code == 400
    assert answer.json() == {
        "statusCode": "404",
        "error": "not_found",
        "message": "Object not found",
        "code": "NoSuchKey",
    }


def test_removing_is_one_delete_each_and_answers_with_the_rows(
    gateway: Gateway, bucket: str, changes: Changes
) -> None:
    images = gateway.supabase().storage.from_(bucket)
    for name in ("a.png", "b.png", "c.png"):
        images.upload(name, PNG, OPTIONS)
    changes()
    answer = images.remove(["a.png", "b.png", "missing.png"])

    assert [(change["op"], change["old"]["name"]) for change in changes()] == [
        ("DELETE", "a.png"),
        ("DELETE", "b.png"),
    ]
    assert sorted(row["name"] for row in answer) == ["a.png", "b.png"]
    assert not images.exists("a.png")
    assert images.exists("c.png")


def test_a_signed_upload_inserts_when_the_bytes_come_and_not_when_it_is_signed(
    gateway: Gateway, bucket: str, changes: Changes
) -> None:
    images = gateway.supabase().storage.from_(bucket)
    signed = images.create_signed_upload_url("b.png")
    assert changes() == []

    images.upload_to_signed_url("b.png", signed["token"], PNG, OPTIONS)
    assert [change["op"] for change in changes()] == ["INSERT"]
    assert images.download("b.png") == PNG


def test_an_upload_that_no_policy_allows_changes_nothing(
    gateway: Gateway, bucket: str, changes: Changes
) -> None:
    stored = gateway.stored()
    with gateway.http(gateway.keys.publishable) as http:
        answer = http.post(f"/storage/v1/object/{bucket}/b.png", files={"file": ("b.png", PNG, "image/png")})

    assert changes() == []
    assert gateway.stored() == stored
    assert answer.status_code == 400
    assert answer.json() == {
        "statusCode": "403",
        "error": "Unauthorized",
        "message": "new row violates row-level security policy",
        "code": "AccessDenied",
    }


def test_emptying_answers_first_and_deletes_each_row_later(
    gateway: Gateway, bucket: str, changes: Changes
) -> None:
    images = gateway.supabase().storage.from_(bucket)
    stored = gateway.stored()
    for number in range(3):
        images.upload(f"{number}.png", PNG, OPTIONS)
    changes()
    answer = gateway.supabase().storage.empty_bucket(bucket)

    assert answer == {"message": "Empty bucket has been queued. Completion may take up to an hour."}
    eventually(lambda: images.list() == [])
    assert [change["op"] for change in changes()] == ["DELETE"] * 3
    eventually(lambda: gateway.stored() == stored)


def test_the_permission_probe_really_writes_as_the_caller_and_is_rolled_back(
    gateway: Gateway, bucket: str, db: Connection, allow: Callable[..., None]
) -> None:
    allow(bucket, "authenticated", "insert")
    db.execute("create sequence public.fired")
    db.execute("create table public.seen (role text, version text, metadata jsonb, operation text, sub text)")
    db.execute(
        """create function public.see() returns trigger language plpgsql security definer as $$ begin
        perform nextval('public.fired');
        insert into public.seen values (current_setting('role'), new.version, new.metadata,
          storage.operation(), current_setting('request.jwt.claims')::jsonb ->> 'sub'); return null; end $$"""
    )
    db.execute(
        "create trigger see after insert on storage.objects for each row execute function public.see()"
    )
    user = str(uuid.uuid4())
    token = gateway.keys.mint("authenticated", {"sub": user})
    with gateway.http(gateway.keys.publishable, authorization=f"Bearer {token}") as http:
        answer = http.post(
            f"/storage/v1/object/{bucket}/b.png", content=PNG, headers={"content-type": "image/png"}
        )
    assert answer.status_code == 200
    (fired,) = db.execute("select last_value from public.fired").fetchone() or ()
    seen = db.execute("select role, version, operation, sub from public.seen").fetchall()
    ((owner, owner_id),) = db.execute(
        "select owner::text, owner_id from storage.objects where bucket_id = %s", [bucket]
    )
    db.execute("drop trigger see on storage.objects")

    assert fired == 2  # sequences don't roll back: the trigger ran in the probe and in the completion
    ((role, version, operation, sub),) = seen
    assert (role, operation) == ("service_role", "storage.object.upload")
    assert UUID.fullmatch(version)
    assert sub is None  # the completion is Storage's own; the owner column tells the user
    assert (owner, owner_id) == (user, user)


def test_a_failing_trigger_fails_the_upload_and_leaves_no_bytes(
    gateway: Gateway, bucket: str, db: Connection
) -> None:
    stored = gateway.stored()
    db.execute(
        """create function public.refuse() returns trigger language plpgsql as $$ begin
        if new.version <> '1' then raise exception 'no'; end if; return new; end $$"""
    )
    db.execute(
        "create trigger refuse before insert on storage.objects for each row execute function public.refuse()"
    )
    try:
        with pytest.raises(StorageApiError) as error:
            gateway.supabase().storage.from_(bucket).upload("b.png", PNG, OPTIONS)
    finally:
        db.execute("drop trigger refuse on storage.objects")

    assert error.value.message == "database error, code: P0001"
    assert gateway.stored() == stored


def test_bytes_that_were_replaced_or_deleted_leave_the_disk(gateway: Gateway, bucket: str) -> None:
    images = gateway.supabase().storage.from_(bucket)
    before = gateway.stored()
    images.upload("a.png", PNG, OPTIONS)
    images.update("a.png", OTHER, OPTIONS)
    images.move("a.png", "b.png")
    images.copy("b.png", "c.png")
    assert len(gateway.stored()) == len(before) + 2

    images.remove(["b.png", "c.png"])
    assert gateway.stored() == before


def test_no_file_on_disk_is_named_by_a_user(gateway: Gateway, bucket: str) -> None:
    before = set(gateway.stored())
    name = "..;x/$(id)/'&.png"
    with gateway.http() as http:
        answer = http.post(f"/storage/v1/object/{bucket}/..%3Bx/%24(id)/'%26.png", content=PNG)

    assert json.loads(answer.text)["Key"] == f"{bucket}/{name}"
    (made,) = set(gateway.stored()) - before
    assert re.fullmatch(r"[0-9a-f]{32}", made.name)
    assert made.read_bytes() == PNG
