"""Resumable uploads as the protocol TUS 1.0.0 and the real server have them, over bare HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from support.databases import Connection
from support.echo_server import Echo
from support.gateways import Gateway, serve
from support.waiting import eventually

from local.gateway.database import Database
from local.gateway.storage.faults import Fault
from local.gateway.storage.files import Files
from local.gateway.storage.tus import pending
from local.gateway.storage.tus.sweeping import remove_expired

DATA = bytes(range(256)) * 40  # 10 KiB
PATH = "/storage/v1/upload/resumable"
PART = {"content-type": "application/offset+octet-stream"}
TUS = {"tus-resumable": "1.0.0"}
Allow = Callable[..., None]


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.http(**TUS) as client:
        yield client


@pytest.fixture
def anon(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.http(gateway.keys.publishable, **TUS) as client:
        yield client


@pytest.fixture
def nobody(gateway: Gateway) -> Iterator[httpx.Client]:
    """No key, no token."""
    with httpx.Client(base_url=gateway.url, headers=TUS) as client:
        yield client


def encoded(**metadata: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items())


def described(bucket: str, name: str = "a.png", **metadata: str) -> str:
    values = {"bucketName": bucket, "objectName": name, "contentType": "image/png", "cacheControl": "60"}
    return encoded(**(values | metadata))


def create(
    http: httpx.Client,
    bucket: str,
    name: str = "a.png",
    *,
    length: int = len(DATA),
    headers: dict[str, str] | None = None,
    path: str = PATH,
    **metadata: str,
) -> httpx.Response:
    given = {"upload-length": str(length), "upload-metadata": described(bucket, name, **metadata)}
    return http.post(path, headers=given | (headers or {}))


def started(http: httpx.Client, bucket: str, name: str = "a.png", **options: Any) -> str:
    """The address of a new upload."""
    answer = create(http, bucket, name, **options)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def send(http: httpx.Client, url: str, offset: int, data: Any, **headers: str) -> httpx.Response:
    return http.patch(url, content=data, headers={**PART, "upload-offset": str(offset), **headers})


def offset(http: httpx.Client, url: str) -> int:
    answer = http.head(url)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer.status_code, answer.text


def identified(url: str) -> list[str]:
    """Bucket, name and version, which the address holds."""
    identity = url.rpartition("/")[2]
    return base64.urlsafe_b64decode(identity + "=" * (-len(identity) % 4)).decode().split("/")


def forged(url: str, part: int, value: str) -> str:
    """The address with another bucket (0), name (1) or version (2) in it."""
    root, parts = url.rpartition("/")[0], identified(url)
    parts[part] = value
    return f"{root}/{base64.urlsafe_b64encode('/'.join(parts).encode()).decode().rstrip('=')}"


def partial(gateway: Gateway) -> list[Path]:
    return [path for path in gateway.stored() if path.parent.name == "resumable"]


def bytes_of(gateway: Gateway, url: str) -> Path:
    """Where the bytes so far are."""
    return gateway.files / "resumable" / identified(url)[2].replace("-", "")


class TestAnUpload:
    def test_arrives_in_parts_and_is_there_with_the_last(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        url = started(http, bucket, metadata=json.dumps({"camera": "K1"}))
        images = gateway.supabase().storage.from_(bucket)
        assert offset(http, url) == 0
        for start in range(0, 10240, 4096):
            assert not images.exists("a.png")
            answer = send(http, url, start, DATA[start : start + 4096])
            assert (answer.status_code, answer.headers["upload-offset"]) == (
                204,
                str(min(start + 4096, 10240)),
            )
            assert ("upload-expires" in answer.headers) != ("tus-complete" in answer.headers)
            assert gateway.readers() == {0o700}
        assert images.download("a.png") == DATA
        told = images.info("a.png")
        assert told["content_type"] == "image/png"
        assert told["cache_control"] == "max-age=60"
        assert told["metadata"] == {"camera": "K1"}

    def test_has_the_etag_of_parts_until_it_is_moved(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        url = started(http, bucket)
        send(http, url, 0, DATA)
        images = gateway.supabase().storage.from_(bucket)
        assert re.fullmatch('"[0-9a-f]{32}-1"', images.info("a.png")["etag"])
        images.move("a.png", "b.png")
        assert images.info("b.png")["etag"] == f'"{hashlib.md5(DATA).hexdigest()}"'

    def test_is_at_an_absolute_address(self, gateway: Gateway, http: httpx.Client, bucket: str) -> None:
        assert started(http, bucket).startswith(f"{gateway.url}{PATH}/")
        behind = {"x-forwarded-host": "images.example.com", "x-forwarded-proto": "https"}
        assert started(http, bucket, headers=behind).startswith(f"https://images.example.com{PATH}/")

    def test_may_bring_its_bytes_along(self, gateway: Gateway, http: httpx.Client, bucket: str) -> None:
        given = {"upload-length": "10240", "upload-metadata": described(bucket), **PART}
        answer = http.post(PATH, content=DATA, headers=given)
        assert (answer.status_code, answer.headers["upload-offset"]) == (201, "10240")
        assert answer.headers["tus-complete"] == "1"
        assert gateway.supabase().storage.from_(bucket).download("a.png") == DATA

    def test_may_be_empty(self, gateway: Gateway, http: httpx.Client, bucket: str) -> None:
        assert create(http, bucket, length=0).headers["tus-complete"] == "1"
        assert gateway.supabase().storage.from_(bucket).download("a.png") == b""

    def test_may_tell_its_length_later(self, gateway: Gateway, http: httpx.Client, bucket: str) -> None:
        given = {"upload-defer-length": "1", "upload-metadata": described(bucket)}
        url = http.post(PATH, headers=given).headers["location"]
        assert send(http, url, 0, DATA[:100]).status_code == 204
        assert http.head(url).headers["upload-defer-length"] == "1"
        assert send(http, url, 100, DATA[100:], **{"upload-length": "10240"}).headers["tus-complete"] == "1"
        assert gateway.supabase().storage.from_(bucket).download("a.png") == DATA

    def test_tells_how_far_it_is_to_whoever_knows_it(
        self, http: httpx.Client, anon: httpx.Client, bucket: str
    ) -> None:
        url = started(http, bucket)
        send(http, url, 0, DATA[:5])
        headers = anon.head(url).headers
        assert (headers["upload-offset"], headers["upload-length"]) == ("5", "10240")
        assert headers["cache-control"] == "no-store"
        assert headers["upload-metadata"] == described(bucket, cacheControl="max-age=60")

    def test_still_tells_it_when_it_is_complete(self, http: httpx.Client, bucket: str) -> None:
        """The client whose last answer was lost asks, and must not send it all again."""
        url = started(http, bucket)
        send(http, url, 0, DATA)
        assert offset(http, url) == len(DATA)
        again = {"x-upsert": "true"}
        assert send(http, url, len(DATA), b"", **again).headers["tus-complete"] == "1"
        answer = http.delete(url, headers=again)
        assert refused(answer) == (400, "Cannot terminate an already completed upload")

    def test_can_be_given_up_and_leaves_nothing(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        stored = gateway.stored()
        url = started(http, bucket)
        send(http, url, 0, DATA[:5])
        assert http.delete(url).status_code == 204
        assert gateway.stored() == stored
        assert http.head(url).status_code == 404
        assert refused(send(http, url, 5, DATA[5:])) == (404, "The file for this url was not found\n")

    def test_that_is_large_arrives_whole(self, gateway: Gateway, http: httpx.Client, bucket: str) -> None:
        data = DATA * 800  # 8 MiB
        url = started(http, bucket, length=len(data))
        for start in range(0, len(data), 6 * 1024 * 1024):
            send(http, url, start, data[start : start + 6 * 1024 * 1024])
        assert gateway.supabase().storage.from_(bucket).download("a.png") == data

    def test_belongs_to_its_user(self, gateway: Gateway, db: Connection, bucket: str, allow: Allow) -> None:
        allow(bucket, "authenticated", "insert")
        user = "00000000-0000-4000-8000-000000000001"
        token = gateway.keys.mint("authenticated", {"sub": user})
        with gateway.http(gateway.keys.publishable, authorization=f"Bearer {token}", **TUS) as http:
            assert send(http, started(http, bucket), 0, DATA).status_code == 204
        ((owner, owner_id),) = db.execute(
            "select owner::text, owner_id from storage.objects where bucket_id = %s", [bucket]
        )
        assert (owner, owner_id) == (user, user)


@pytest.fixture
def changes(db: Connection) -> Iterator[Callable[[], list[tuple[str, Any]]]]:
    """The committed row changes, and the user's metadata in each."""
    db.execute("create table public.tus_changes (op text, user_metadata jsonb)")
    db.execute(
        """create function public.note_tus() returns trigger language plpgsql security definer as $$ begin
        insert into public.tus_changes values (tg_op, new.user_metadata); return null; end $$"""
    )
    db.execute(
        "create trigger note_tus after insert or update or delete on storage.objects "
        "for each row execute function public.note_tus()"
    )
    yield lambda: db.execute("select op, user_metadata from public.tus_changes").fetchall()
    db.execute("drop trigger note_tus on storage.objects")
    db.execute("drop function public.note_tus")
    db.execute("drop table public.tus_changes")


def test_a_new_object_is_one_insert_and_an_old_one_one_update(
    http: httpx.Client, bucket: str, changes: Callable[[], list[Any]]
) -> None:
    url = started(http, bucket)
    send(http, url, 0, DATA[:5])
    assert changes() == []
    send(http, url, 5, DATA[5:])
    assert changes() == [("INSERT", None)]
    upsert = {"x-upsert": "true"}
    url = started(http, bucket, headers=upsert)
    assert send(http, url, 0, DATA, **upsert).status_code == 204
    assert changes() == [("INSERT", None), ("UPDATE", None)]


def test_an_object_that_was_replaced_leaves_the_disk(
    gateway: Gateway, http: httpx.Client, bucket: str
) -> None:
    images = gateway.supabase().storage.from_(bucket)
    images.upload("a.png", b"old", {"content-type": "image/png"})
    stored = [path for path in gateway.stored() if path.parent.name != "resumable"]
    send(http, started(http, bucket, headers={"x-upsert": "true"}), 0, DATA, **{"x-upsert": "true"})
    assert images.download("a.png") == DATA
    assert len([path for path in gateway.stored() if path.parent.name != "resumable"]) == len(stored)


class TestPermission:
    def test_is_asked_at_the_start(self, gateway: Gateway, anon: httpx.Client, bucket: str) -> None:
        stored = gateway.stored()
        answer = create(anon, bucket)
        assert refused(answer) == (403, "new row violates row-level security policy")
        assert gateway.stored() == stored

    def test_is_asked_with_each_part(
        self, gateway: Gateway, anon: httpx.Client, bucket: str, allow: Allow, db: Connection
    ) -> None:
        db.execute("create table public.open_doors (bucket text)")
        db.execute("insert into public.open_doors values (%s)", [bucket])
        db.execute("grant select on public.open_doors to anon")
        allow(bucket, "anon", "insert", f"exists (select from public.open_doors where bucket = '{bucket}')")
        url = started(anon, bucket)
        assert send(anon, url, 0, DATA[:5]).status_code == 204
        db.execute("delete from public.open_doors")
        assert refused(send(anon, url, 5, DATA[5:]))[0] == 403
        assert refused(anon.delete(url))[0] == 403
        assert offset(anon, url) == 5
        assert gateway.supabase().storage.from_(bucket).list() == []

    def test_sees_what_will_be_uploaded(self, anon: httpx.Client, bucket: str, allow: Allow) -> None:
        allow(bucket, "anon", "insert", "metadata ->> 'mimetype' = 'image/png' and name like 'mine/%'")
        assert create(anon, bucket).status_code == 403
        assert create(anon, bucket, "mine/a.gif", contentType="image/gif").status_code == 403
        assert send(anon, started(anon, bucket, "mine/a.png"), 0, DATA).status_code == 204

    def test_knows_the_operation(self, anon: httpx.Client, bucket: str, allow: Allow) -> None:
        allow(bucket, "anon", "insert", "storage.operation() = 'storage.tus.upload.create'")
        url = started(anon, bucket)
        assert refused(send(anon, url, 0, DATA))[0] == 403

    def test_doesnt_reach_over_a_name_that_is_taken(self, http: httpx.Client, bucket: str) -> None:
        slow, fast = started(http, bucket), started(http, bucket)
        assert send(http, fast, 0, DATA).status_code == 204
        assert refused(create(http, bucket)) == (409, "The resource already exists")
        assert refused(send(http, slow, 0, DATA)) == (409, "The resource already exists")

    def test_takes_credentials(self, nobody: httpx.Client, bucket: str) -> None:
        assert create(nobody, bucket).status_code == 401
        answer = nobody.post(PATH, headers={"authorization": "Bearer nonsense"})
        assert (answer.status_code, answer.json()["message"]) == (400, "Invalid Compact JWS")


class TestBadRequests:
    @pytest.mark.parametrize(
        ("headers", "status", "text"),
        [
            ({"tus-resumable": ""}, 412, "Tus-Resumable Required\n"),
            ({"tus-resumable": "0.2.2"}, 400, "Invalid tus-resumable\n"),
            ({"upload-length": "-1"}, 400, "Invalid upload-length\n"),
            ({"upload-length": "1e3"}, 400, "Invalid upload-length\n"),
            ({"upload-length": "9" * 30}, 400, "Invalid upload-length\n"),
            ({"upload-metadata": "bucketName images"}, 400, "Invalid upload-metadata\n"),
            ({"upload-metadata": "a,a"}, 400, "Invalid upload-metadata\n"),
            ({"upload-metadata": "a /w=="}, 400, "Invalid upload-metadata\n"),
            (
                {"upload-defer-length": "1"},
                400,
                "Upload-Length or Upload-Defer-Length header required\n",
            ),
            ({"upload-length": str(60 * 1024 * 1024)}, 413, "Maximum size exceeded\n"),
            ({"upload-metadata": encoded(objectName="a.png")}, 400, "Bucket name invalid"),
            ({"upload-metadata": described("images", "caf\xe9.png")}, 400, "Invalid key: caf\xe9.png"),
            ({"upload-metadata": described("nowhere")}, 404, "Bucket not found"),
            (
                {"upload-concat": "partial"},
                501,
                "Concatenation extension is not (yet) supported. "
                "Disable parallel uploads in the tus client.\n",
            ),
        ],
    )
    def test_a_creation_that_cant_be_is_refused_in_the_real_servers_words(
        self, http: httpx.Client, bucket: str, headers: dict[str, str], status: int, text: str
    ) -> None:
        assert refused(create(http, bucket, headers=headers)) == (status, text)

    def test_a_creation_without_metadata_or_length_is_refused(self, http: httpx.Client, bucket: str) -> None:
        answer = http.post(PATH, headers={"upload-length": "5"})
        assert refused(answer) == (400, "Metadata header is required")
        answer = http.post(PATH, headers={"upload-metadata": described(bucket)})
        assert refused(answer)[1] == "Upload-Length or Upload-Defer-Length header required\n"

    def test_more_than_the_bucket_takes_is_refused(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        gateway.supabase().storage.update_bucket(bucket, {"file_size_limit": 1000})
        assert refused(create(http, bucket)) == (413, "Maximum size exceeded\n")
        given = {"upload-defer-length": "1", "upload-metadata": described(bucket)}
        url = http.post(PATH, headers=given).headers["location"]
        assert refused(send(http, url, 0, DATA)) == (413, "upload's size exceeded\n")
        assert refused(send(http, url, 0, iter([DATA]))) == (413, "Maximum size exceeded\n")
        assert refused(send(http, url, 0, b"x", **{"upload-length": "2000"}))[0] == 413
        assert offset(http, url) == 0

    def test_more_than_was_told_is_refused(self, http: httpx.Client, bucket: str) -> None:
        url = started(http, bucket, length=100)
        assert refused(send(http, url, 0, DATA)) == (413, "upload's size exceeded\n")
        assert refused(send(http, url, 0, iter([DATA]))) == (413, "Maximum size exceeded\n")
        assert refused(send(http, url, 0, b"x", **{"upload-length": "100"}))[0] == 400
        assert offset(http, url) == 0

    def test_bytes_beyond_the_length_at_creation_leave_nothing(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        stored = gateway.stored()
        given = {"upload-length": "5", "upload-metadata": described(bucket), **PART}
        assert refused(http.post(PATH, content=DATA, headers=given))[0] == 413
        assert gateway.stored() == stored

    def test_a_type_that_the_bucket_does_not_allow_is_refused(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        gateway.supabase().storage.update_bucket(bucket, {"allowed_mime_types": ["image/*"]})
        stored = gateway.stored()
        answer = create(http, bucket, contentType="text/html")
        assert refused(answer) == (415, "mime type text/html is not supported")
        assert gateway.stored() == stored

    def test_a_wrong_offset_is_a_conflict_and_changes_nothing(self, http: httpx.Client, bucket: str) -> None:
        url = started(http, bucket)
        send(http, url, 0, DATA[:5])
        for wrong in (0, 4, 6):
            assert refused(send(http, url, wrong, DATA[5:])) == (409, "Upload-Offset conflict\n")
        assert offset(http, url) == 5

    @pytest.mark.parametrize("value", ["image/png\r\nx: y", "image/jpéé€g"])
    def test_a_type_that_no_download_could_tell_is_refused(
        self, http: httpx.Client, bucket: str, value: str
    ) -> None:
        assert refused(create(http, bucket, contentType=value)) == (
            415,
            f"mime type {value} is not supported",
        )

    def test_a_part_needs_its_offset_and_its_type(self, http: httpx.Client, bucket: str) -> None:
        url = started(http, bucket)
        assert refused(http.patch(url, content=DATA, headers=PART)) == (
            403,
            "Upload-Offset header required\n",
        )
        untyped = http.build_request("PATCH", url, content=DATA, headers={"upload-offset": "0"})
        assert refused(http.send(untyped)) == (403, "Content-Type header required\n")
        answer = send(http, url, 0, DATA, **{"content-type": "image/png"})
        assert (answer.status_code, answer.json()["message"]) == (415, "Unsupported Media Type")
        assert offset(http, url) == 0

    @pytest.mark.parametrize(("part", "value"), [(0, "elsewhere"), (1, "b.png")])
    def test_an_address_made_up_from_anothers_finds_nothing(
        self, http: httpx.Client, bucket: str, part: int, value: str
    ) -> None:
        assert http.head(forged(started(http, bucket), part, value)).status_code == 404

    @pytest.mark.parametrize("version", ["1", "..", "x" * 36, "00000000-0000-4000-8000-000000000000"])
    def test_an_address_with_a_made_up_version_finds_nothing(
        self, http: httpx.Client, bucket: str, version: str
    ) -> None:
        assert http.head(forged(started(http, bucket), 2, version)).status_code in (400, 404)

    def test_an_address_that_is_nonsense_is_refused(self, http: httpx.Client) -> None:
        assert refused(send(http, f"{PATH}/nonsense!", 0, b"x")) == (400, "Invalid upload id")


def test_the_protocol_tells_what_it_can(nobody: httpx.Client) -> None:
    for path in (PATH, f"{PATH}/sign", f"{PATH}/anything"):
        answer = nobody.options(path)
        assert (answer.status_code, answer.headers["tus-version"]) == (204, "1.0.0")
        assert "creation-with-upload" in answer.headers["tus-extension"]
        assert answer.headers["tus-max-size"] == str(50 * 1024 * 1024)


def test_a_page_of_another_local_server_may_read_the_protocols_headers(
    http: httpx.Client, bucket: str
) -> None:
    answer = create(http, bucket, headers={"origin": "http://localhost:5173"})
    exposed = answer.headers["access-control-expose-headers"]
    assert {"location", "upload-offset", "tus-resumable"} <= set(exposed.split(", "))


class TestSignedUploads:
    @pytest.fixture
    def token(self, gateway: Gateway, bucket: str) -> str:
        return str(gateway.supabase().storage.from_(bucket).create_signed_upload_url("a.png")["token"])

    def test_take_the_signature_and_no_other_credentials(
        self, gateway: Gateway, nobody: httpx.Client, bucket: str, token: str
    ) -> None:
        signed = {"x-signature": token}
        url = started(nobody, bucket, headers=signed, path=f"{PATH}/sign")
        assert url.startswith(f"{gateway.url}{PATH}/sign/")
        assert send(nobody, url, 0, DATA[:5], **signed).status_code == 204
        assert nobody.head(url, headers=signed).headers["upload-offset"] == "5"
        assert send(nobody, url, 5, DATA[5:], **signed).headers["tus-complete"] == "1"
        assert gateway.supabase().storage.from_(bucket).download("a.png") == DATA

    def test_are_bound_to_one_object(self, nobody: httpx.Client, bucket: str, token: str) -> None:
        answer = create(nobody, bucket, "b.png", headers={"x-signature": token}, path=f"{PATH}/sign")
        assert refused(answer) == (400, "Invalid signature")

    def test_are_refused_where_the_signature_is_missing_forged_or_expired(
        self, gateway: Gateway, nobody: httpx.Client, bucket: str
    ) -> None:
        claims = {"url": f"{bucket}/a.png", "scope": "upload", "exp": int(time.time()) - 1}
        for signature, text in {
            "": "Missing x-signature header",
            "nonsense": "Invalid Compact JWS",
            jwt.encode(claims, gateway.keys.jwt_secret): '"exp" claim timestamp check failed',
            jwt.encode({**claims, "exp": 2**31}, "x" * 32): "signature verification failed",
        }.items():
            answer = create(nobody, bucket, headers={"x-signature": signature}, path=f"{PATH}/sign")
            assert refused(answer) == (400, text)

    def test_replace_only_where_the_signature_says_so(
        self, gateway: Gateway, nobody: httpx.Client, bucket: str, token: str
    ) -> None:
        images = gateway.supabase().storage.from_(bucket)
        images.upload("a.png", b"old", {"content-type": "image/png"})
        signed = {"x-signature": token, "x-upsert": "true"}
        assert refused(create(nobody, bucket, headers=signed, path=f"{PATH}/sign"))[0] == 409
        with gateway.http() as http:
            asked = http.post(f"/storage/v1/object/upload/sign/{bucket}/a.png", headers={"x-upsert": "true"})
        signed = {"x-signature": asked.json()["token"]}
        url = started(nobody, bucket, headers=signed, path=f"{PATH}/sign")
        assert send(nobody, url, 0, DATA, **signed).status_code == 204
        assert images.download("a.png") == DATA


def half_sent(gateway: Gateway, url: str, data: bytes, length: int) -> socket.socket:
    """A connection on which a part was begun and isn't ended."""
    address = httpx.URL(url)
    connection = socket.create_connection((address.host, address.port or 80))
    head = (
        f"PATCH {address.raw_path.decode()} HTTP/1.1\r\nhost: {address.host}:{address.port}\r\n"
        f"apikey: {gateway.keys.secret}\r\ntus-resumable: 1.0.0\r\nupload-offset: 0\r\n"
        f"content-type: application/offset+octet-stream\r\ncontent-length: {length}\r\n\r\n"
    )
    connection.sendall(head.encode() + data)
    return connection


class TestInterruptions:
    def test_what_came_before_a_broken_connection_stays(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        url = started(http, bucket)
        with half_sent(gateway, url, DATA[:3000], len(DATA)):
            eventually(lambda: bytes_of(gateway, url).stat().st_size == 3000)
        assert offset(http, url) == 3000
        send(http, url, 3000, DATA[3000:])
        assert gateway.supabase().storage.from_(bucket).download("a.png") == DATA

    def test_a_request_left_behind_gives_way_to_the_client_that_is_back(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        """Its connection looks alive to the server, as one does behind a network that went away."""
        url = started(http, bucket)
        with half_sent(gateway, url, DATA[:3000], len(DATA)) as stale:
            eventually(lambda: bytes_of(gateway, url).stat().st_size == 3000)
            assert offset(http, url) == 3000
            assert b"204" in stale.recv(1000).split(b"\r\n")[0]
        assert send(http, url, 3000, DATA[3000:]).headers["tus-complete"] == "1"
        assert gateway.supabase().storage.from_(bucket).download("a.png") == DATA

    def test_two_parts_at_once_never_mix(self, gateway: Gateway, http: httpx.Client, bucket: str) -> None:
        data = DATA * 100
        url = started(http, bucket, length=len(data))
        answers: list[httpx.Response] = []

        def part() -> None:
            with gateway.http(**TUS) as own:
                answers.append(send(own, url, 0, data[: len(data) // 2]))

        threads = [threading.Thread(target=part) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} <= {204, 409}
        reached = offset(http, url)
        send(http, url, reached, data[reached:])
        assert gateway.supabase().storage.from_(bucket).download("a.png") == data

    def test_a_restart_of_the_gateway_costs_nothing(
        self, gateway: Gateway, tmp_path: Path, bucket: str, echo: Echo
    ) -> None:
        with serve(gateway.database, tmp_path, {}, echo) as before, before.http(**TUS) as http:
            url = started(http, bucket)
            send(http, url, 0, DATA[:3000])
        with serve(gateway.database, tmp_path, {}, echo) as after, after.http(**TUS) as http:
            url = url.replace(before.url, after.url)
            assert offset(http, url) == 3000
            assert send(http, url, 3000, DATA[3000:]).headers["tus-complete"] == "1"
            assert after.supabase().storage.from_(bucket).download("a.png") == DATA

    @pytest.mark.parametrize("handed_over", [False, True])
    def test_an_upload_whose_last_bytes_came_as_the_gateway_ended_starts_anew(
        self, gateway: Gateway, http: httpx.Client, bucket: str, handed_over: bool
    ) -> None:
        """All bytes and no object: were it told as complete, the client would believe it."""
        stored = gateway.stored()
        url = started(http, bucket)
        data = bytes_of(gateway, url)
        data.write_bytes(DATA)
        if handed_over:
            final = gateway.files / data.name[:2] / data.name
            final.parent.mkdir(exist_ok=True)
            data.rename(final)
        assert http.head(url).status_code == 404
        assert gateway.stored() == stored

    def test_an_upload_whose_object_was_made_as_the_gateway_ended_is_complete(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        url = started(http, bucket)
        send(http, url, 0, DATA)
        description = bytes_of(gateway, url).with_suffix(".json")
        description.write_text(json.dumps(json.loads(description.read_text()) | {"finished": False}))
        assert offset(http, url) == len(DATA)
        assert gateway.supabase().storage.from_(bucket).download("a.png") == DATA

    def test_an_upload_that_stays_busy_is_reported_after_a_while(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the request in front doesn't give way, such as one in the middle of its commit."""
        monkeypatch.setattr(pending, "PAUSE", 0.01)
        uploads = pending.Pending(tmp_path, Files(tmp_path))

        async def meet() -> bool:
            async with uploads.turn("one") as wanted, uploads.turn("another"):
                with pytest.raises(Fault, match="acquiring lock timeout"):
                    async with uploads.turn("one"):
                        pass
                return wanted.is_set()

        assert asyncio.run(meet())

    def test_an_expired_upload_that_stays_busy_keeps_no_other_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pending, "PAUSE", 0.01)
        files = Files(tmp_path / "objects")
        uploads = pending.Pending(tmp_path / "resumable", files)
        busy, idle = (str(UUID(int=number)) for number in (1, 2))
        for version in (busy, idle):
            uploads.create(
                pending.Upload(bucket="b", name="a", version=version, length=9, metadata={}, created=0)
            )
        (tmp_path / "resumable" / f"{'f' * 32}.json").write_text("[]")  # not ours

        async def sweep() -> list[str]:
            async with uploads.turn(busy):
                await remove_expired(uploads, files, Database(str))
            return [upload.version for upload in uploads.everything()]

        assert asyncio.run(sweep()) == [busy]

    def test_a_failing_trigger_fails_the_upload_and_leaves_nothing(
        self, gateway: Gateway, http: httpx.Client, bucket: str, db: Connection
    ) -> None:
        stored = gateway.stored()
        db.execute(
            """create function public.refuse_tus() returns trigger language plpgsql as $$ begin
            if new.version <> '1' then raise exception 'no'; end if; return new; end $$"""
        )
        db.execute(
            "create trigger refuse_tus before insert on storage.objects "
            "for each row execute function public.refuse_tus()"
        )
        try:
            answer = send(http, started(http, bucket), 0, DATA)
        finally:
            db.execute("drop trigger refuse_tus on storage.objects")
        assert refused(answer) == (500, "database error, code: P0001")
        assert gateway.stored() == stored


class TestExpiry:
    @pytest.fixture
    def aged(self, gateway: Gateway) -> Callable[[], None]:
        """Make every upload a day old."""

        def age() -> None:
            for path in partial(gateway):
                if path.suffix == ".json":
                    told = json.loads(path.read_text())
                    path.write_text(json.dumps(told | {"created": time.time() - pending.LIFETIME - 1}))

        return age

    def test_an_upload_lives_for_a_day(
        self, http: httpx.Client, bucket: str, aged: Callable[[], None]
    ) -> None:
        url = started(http, bucket)
        aged()
        assert http.head(url).status_code == 410
        assert refused(send(http, url, 0, DATA)) == (410, "The file for this url no longer exists\n")

    def test_what_was_never_finished_is_gone_after_a_start(
        self, gateway: Gateway, http: httpx.Client, bucket: str, aged: Callable[[], None], echo: Echo
    ) -> None:
        send(http, started(http, bucket), 0, DATA[:5])
        send(http, started(http, bucket, "b.png"), 0, DATA)
        aged()
        young = started(http, bucket, "c.png")
        with serve(gateway.database, gateway.files.parent, {}, echo):
            eventually(lambda: len(partial(gateway)) == 2)
        assert offset(http, young) == 0
        assert gateway.supabase().storage.from_(bucket).download("b.png") == DATA

    def test_files_that_no_upload_knows_go_when_they_are_a_day_old(
        self, gateway: Gateway, http: httpx.Client, bucket: str, echo: Echo
    ) -> None:
        young = bytes_of(gateway, started(http, bucket))
        old, recent = young.with_name("0" * 32), young.with_name("1" * 32 + ".partial")
        for path in (old, recent):
            path.write_bytes(b"left behind")
        os.utime(old, (0, 0))
        os.utime(young, (0, 0))  # slow, but known
        with serve(gateway.database, gateway.files.parent, {}, echo):
            eventually(lambda: not old.exists())
        assert recent.exists()
        assert young.exists()
