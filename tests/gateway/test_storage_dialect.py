"""Storage as its clients see it, besides the rows: identities, limits, headers, URLs, listings, buckets."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest
import requests
from storage3.exceptions import StorageApiError
from support.databases import Connection
from support.gateways import Gateway
from support.waiting import eventually

from local.gateway.storage.files import Files, Stored
from shared.settings import Secret
from shared.supabase.credentials import Identity
from shared.supabase.storage import Storage

PNG = b"\x89PNG bytes"
OPTIONS = {"content-type": "image/png"}
Allow = Callable[..., None]


@pytest.fixture
def anonymous(gateway: Gateway) -> Iterator[httpx.Client]:
    """No key, no token."""
    with httpx.Client(base_url=gateway.url) as client:
        yield client


def as_user(gateway: Gateway, user: str) -> dict[str, str]:
    token = gateway.keys.mint("authenticated", {"sub": user})
    return {"apikey": gateway.keys.publishable, "authorization": f"Bearer {token}"}


def refused(answer: httpx.Response) -> tuple[int, str, str, str]:
    body = answer.json()
    return answer.status_code, body["statusCode"], body["code"], body["message"]


class TestIdentity:
    def test_a_secret_key_and_the_legacy_service_key_pass_every_policy(
        self, gateway: Gateway, bucket: str
    ) -> None:
        for number, key in enumerate([gateway.keys.secret, gateway.keys.service_role]):
            gateway.supabase(key).storage.from_(bucket).upload(f"{number}.png", PNG, OPTIONS)
        assert len(gateway.supabase().storage.from_(bucket).list()) == 2

    def test_a_publishable_key_and_the_legacy_anon_key_are_anon(
        self, gateway: Gateway, bucket: str, allow: Allow
    ) -> None:
        allow(bucket, "anon", "insert")
        for number, key in enumerate([gateway.keys.publishable, gateway.keys.anon]):
            gateway.supabase(key).storage.from_(bucket).upload(f"{number}.png", PNG, OPTIONS)
            assert gateway.supabase(key).storage.from_(bucket).list() == []  # inserting isn't seeing

    def test_a_users_token_decides_over_the_key_beside_it(
        self, gateway: Gateway, http: httpx.Client, bucket: str, allow: Allow
    ) -> None:
        allow(bucket, "authenticated", "insert")
        allow(bucket, "authenticated", "select", "owner_id = auth.uid()::text")
        ann, bob = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
        url = f"/storage/v1/object/{bucket}/mine.png"
        assert http.post(url, content=PNG, headers=as_user(gateway, ann)).status_code == 200
        assert http.get(url, headers=as_user(gateway, ann)).content == PNG
        assert refused(http.get(url, headers=as_user(gateway, bob)))[1:3] == ("404", "NoSuchKey")

    def test_without_any_credentials_the_gateway_answers_401(
        self, anonymous: httpx.Client, bucket: str
    ) -> None:
        answer = anonymous.post(f"/storage/v1/object/{bucket}/x.png", content=PNG)
        assert (answer.status_code, answer.json()["message"]) == (401, "No API key found in request")

    def test_an_unknown_key_is_a_401(self, gateway: Gateway, bucket: str) -> None:
        with gateway.http("sb_secret_forged") as client:
            answer = client.post(f"/storage/v1/object/list/{bucket}", json={"prefix": ""})
        assert (answer.status_code, answer.json()["message"]) == (401, "Invalid API key")

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda keys: keys.mint("authenticated", lifetime=-60), '"exp" claim timestamp check failed'),
            (lambda keys: jwt.encode({"role": "service_role"}, "x" * 32), "signature verification failed"),
            (lambda keys: "sb_secret_another", "Invalid Compact JWS"),
            (
                lambda keys: jwt.encode({"role": "service_role"}, None, algorithm="none"),
                "Invalid Compact JWS",
            ),
        ],
        ids=["expired", "forged", "opaque key that isn't the apikey", "unsigned"],
    )
    def test_a_bad_token_is_refused_in_storages_own_words(
        self, gateway: Gateway, http: httpx.Client, bucket: str, make: Callable[[Any], str], message: str
    ) -> None:
        headers = {"apikey": gateway.keys.publishable, "authorization": f"Bearer {make(gateway.keys)}"}
        answer = http.post(f"/storage/v1/object/list/{bucket}", json={"prefix": ""}, headers=headers)
        assert refused(answer) == (400, "403", "AccessDenied", message)

    def test_a_token_alone_will_do(self, gateway: Gateway, anonymous: httpx.Client, bucket: str) -> None:
        headers = {"authorization": f"Bearer {gateway.keys.service_role}"}
        assert (
            anonymous.post(f"/storage/v1/object/list/{bucket}", json={"prefix": ""}, headers=headers).json()
            == []
        )

    def test_a_role_that_storage_may_not_take_on_is_refused(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        headers = {"authorization": f"Bearer {gateway.keys.mint('supabase_admin')}"}
        answer = http.post(f"/storage/v1/object/list/{bucket}", json={"prefix": ""}, headers=headers)
        assert refused(answer)[1:3] == ("403", "AccessDenied")


class TestUpload:
    def test_an_upsert_takes_insert_select_and_update(
        self, gateway: Gateway, bucket: str, allow: Allow
    ) -> None:
        images = gateway.supabase(gateway.keys.publishable).storage.from_(bucket)
        allow(bucket, "anon", "insert")
        images.upload("a.png", PNG, OPTIONS)
        with pytest.raises(StorageApiError, match="row-level security"):
            images.upload("a.png", PNG, {**OPTIONS, "upsert": "true"})
        allow(bucket, "anon", "select")
        allow(bucket, "anon", "update")
        images.upload("a.png", b"new", {**OPTIONS, "upsert": "true"})
        assert images.download("a.png") == b"new"

    def test_a_raw_body_keeps_its_declared_type_cache_and_metadata(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        headers = {"content-type": "image/webp", "cache-control": "max-age=9", "x-metadata": "eyJhIjogMX0="}
        http.post(f"/storage/v1/object/{bucket}/a.webp", content=PNG, headers=headers)
        told = gateway.supabase().storage.from_(bucket).info("a.webp")
        assert (told["content_type"], told["cache_control"], told["metadata"]) == (
            "image/webp",
            "max-age=9",
            {"a": 1},
        )

    @pytest.mark.parametrize("value", ["1\r\nX-Injected: yes", "1é€", "1\0"])
    @pytest.mark.parametrize(
        ("field", "code"), [("contentType", "InvalidMimeType"), ("cacheControl", "InvalidRequest")]
    )
    def test_what_no_download_could_tell_as_a_header_is_refused(
        self, gateway: Gateway, http: httpx.Client, bucket: str, field: str, code: str, value: str
    ) -> None:
        http.post(f"/storage/v1/object/{bucket}/b.png", content=PNG)
        stored = gateway.stored()
        url = f"/storage/v1/object/{bucket}/a.png"
        answer = http.post(url, data={field: value}, files={"file": ("a.png", PNG)})
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        given = {"mimetype" if field == "contentType" else field: value}
        body = {"bucketId": bucket, "sourceKey": "b.png", "destinationKey": "c.png"}
        answer = http.post("/storage/v1/object/copy", json=body | {"copyMetadata": False, "metadata": given})
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert gateway.stored() == stored

    def test_a_type_is_taken_without_the_spaces_around_it(self, http: httpx.Client, bucket: str) -> None:
        url = f"/storage/v1/object/{bucket}/a.png"
        http.post(url, data={"contentType": " image/png "}, files={"file": ("a.png", PNG)})
        assert http.get(url).headers["content-type"] == "image/png"

    def test_a_large_file_arrives_whole(self, gateway: Gateway, bucket: str) -> None:
        images = gateway.supabase().storage.from_(bucket)
        data = bytes(range(256)) * 4 * 4096  # 4 MiB
        images.upload("large.bin", data, OPTIONS)
        assert images.download("large.bin") == data

    def test_a_file_above_the_buckets_limit_is_refused_and_leaves_nothing(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        gateway.supabase().storage.update_bucket(bucket, {"file_size_limit": 1000})
        stored = gateway.stored()
        for request in ({"content": b"x" * 500_000}, {"files": {"file": b"x" * 500_000}}):
            answer = http.post(f"/storage/v1/object/{bucket}/a.png", **request)
            message = "The object exceeded the maximum allowed size"
            assert refused(answer) == (400, "413", "EntityTooLarge", message)
        assert gateway.stored() == stored
        assert gateway.supabase().storage.from_(bucket).list() == []

    def test_a_type_that_the_bucket_does_not_allow_is_refused(self, gateway: Gateway, bucket: str) -> None:
        gateway.supabase().storage.update_bucket(bucket, {"allowed_mime_types": ["image/*", "text/csv"]})
        images = gateway.supabase().storage.from_(bucket)
        images.upload("a.png", PNG, OPTIONS)
        images.upload("a.csv", b"a,b", {"content-type": "text/csv"})
        with pytest.raises(StorageApiError, match="mime type text/html is not supported") as error:
            images.upload("a.html", b"<p>", {"content-type": "text/html"})
        assert (error.value.status, error.value.code) == ("415", "invalid_mime_type")

    def test_a_folder_placeholder_is_empty_and_of_any_type(self, gateway: Gateway, bucket: str) -> None:
        gateway.supabase().storage.update_bucket(bucket, {"allowed_mime_types": ["image/png"]})
        images = gateway.supabase().storage.from_(bucket)
        images.upload("new/.emptyFolderPlaceholder", b"", {"content-type": "text/plain"})
        with pytest.raises(StorageApiError, match="maximum allowed size"):
            images.upload("more/.emptyFolderPlaceholder", b"x", {"content-type": "text/plain"})

    @pytest.mark.parametrize("name", ["caf%C3%A9.png", "a%23b.png", "100%25.png", "a~b.png"])
    def test_a_name_outside_the_charset_is_refused(self, http: httpx.Client, bucket: str, name: str) -> None:
        answer = http.post(f"/storage/v1/object/{bucket}/{name}", content=PNG)
        assert refused(answer)[1:3] == ("400", "InvalidKey")

    def test_a_name_is_as_long_as_a_key_in_s3_may_be(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
        body = {"bucketId": bucket, "sourceKey": "a.png"}
        too_long = (400, "400", "S3Error", "KeyTooLongError")
        assert http.post(f"/storage/v1/object/{bucket}/{'u' * 1024}", content=PNG).status_code == 200
        assert refused(http.post(f"/storage/v1/object/{bucket}/{'u' * 1025}", content=PNG)) == too_long
        for way in ("copy", "move"):
            asked = {**body, "destinationKey": way[0] * 240_000}
            assert refused(http.post(f"/storage/v1/object/{way}", json=asked)) == too_long

    def test_a_bucket_that_does_not_exist_is_a_404(self, http: httpx.Client) -> None:
        answer = http.post("/storage/v1/object/nowhere/a.png", content=PNG)
        assert refused(answer) == (400, "404", "NoSuchBucket", "Bucket not found")

    def test_a_form_without_a_file_and_one_that_breaks_off_are_refused(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        stored = gateway.stored()
        form = {"content-type": "multipart/form-data; boundary=b"}
        cut = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf of'
        for body in (b"--b--\r\n", b"no form at all", cut):
            answer = http.post(f"/storage/v1/object/{bucket}/a.png", content=body, headers=form)
            assert refused(answer)[1:3] == ("400", "InvalidRequest")
        assert gateway.stored() == stored

    def test_a_client_that_goes_away_leaves_nothing(self, gateway: Gateway, bucket: str) -> None:
        stored, started = gateway.stored(), threading.Event()

        def half() -> Iterator[bytes]:
            yield b"x" * 300_000
            eventually(lambda: len(gateway.stored()) > len(stored))
            started.set()
            raise ConnectionError

        with gateway.http() as client, pytest.raises(ConnectionError):
            client.post(f"/storage/v1/object/{bucket}/a.png", content=half())
        assert started.is_set()
        eventually(lambda: gateway.stored() == stored)
        assert gateway.supabase().storage.from_(bucket).list() == []

    def test_two_uploads_of_one_name_at_once_end_with_one_row_and_one_file(
        self, gateway: Gateway, bucket: str
    ) -> None:
        stored = gateway.stored()
        bodies = [bytes([number]) * 50_000 for number in range(8)]
        images = [gateway.supabase().storage.from_(bucket) for _ in bodies]
        threads = [
            threading.Thread(target=one.upload, args=("same.png", body, {**OPTIONS, "upsert": "true"}))
            for one, body in zip(images, bodies, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert images[0].download("same.png") in bodies
        assert len(gateway.stored()) == len(stored) + 1

    def test_one_to_a_name_that_a_move_took_meanwhile_replaces_nothing(
        self, gateway: Gateway, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images = gateway.supabase().storage.from_(bucket)
        images.upload("b.png", b"moved", OPTIONS)
        written = Files.write

        async def write(*arguments: Any) -> Stored:
            stored = await written(*arguments)
            await asyncio.to_thread(images.move, "b.png", "c.png")
            return stored

        monkeypatch.setattr(Files, "write", write)
        with pytest.raises(StorageApiError) as error:
            gateway.supabase().storage.from_(bucket).upload("c.png", b"uploaded", OPTIONS)
        assert error.value.status == "409"
        assert images.download("c.png") == b"moved"


class TestDownload:
    @pytest.mark.parametrize("route", ["public", "authenticated", "info"])
    def test_a_bucket_may_have_the_name_of_a_route(self, gateway: Gateway, route: str) -> None:
        """In such a bucket no image in a folder was ever embedded, and /object/info tells of another one."""
        client = gateway.supabase().storage
        client.create_bucket(route)
        client.from_(route).upload("a/b.png", PNG, OPTIONS)
        with requests.Session() as session:
            key = Secret(gateway.keys.secret)
            ours = Storage(gateway.url, Identity(apikey=key, authorization=Secret(f"Bearer {key}")), session)
            assert ours.download(route, "a/b.png", version="", max_bytes=len(PNG)) == PNG
            assert ours.info(route, "a/b.png")["name"] == "a/b.png"

    @pytest.fixture
    def url(self, gateway: Gateway, bucket: str) -> str:
        gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
        return f"/storage/v1/object/{bucket}/a.png"

    def test_headers_describe_the_bytes(self, http: httpx.Client, url: str) -> None:
        headers = http.get(url).headers
        assert headers["content-type"] == "image/png"
        assert headers["content-length"] == str(len(PNG))
        assert headers["cache-control"] == "max-age=3600"
        assert headers["accept-ranges"] == "bytes"
        assert headers["etag"].startswith('"')
        assert headers["last-modified"].endswith("GMT")

    @pytest.mark.parametrize("value", ["a\r\nb: c", "é€", "", 7, None, ["image/png"]])
    def test_what_was_written_past_storage_and_is_no_header_is_left_out(
        self, gateway: Gateway, http: httpx.Client, url: str, bucket: str, value: object
    ) -> None:
        metadata = json.dumps({"mimetype": value, "cacheControl": value, "eTag": value})
        with gateway.database.connect("supabase_admin") as admin:
            admin.execute("update storage.objects set metadata = %s where bucket_id = %s", [metadata, bucket])
        answer = http.get(url)
        assert (answer.status_code, answer.content) == (200, PNG)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"] == "no-cache"

    def test_head_has_the_headers_and_no_bytes(self, http: httpx.Client, url: str) -> None:
        answer = http.head(url)
        assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(PNG)))
        assert answer.content == b""

    @pytest.mark.parametrize(
        ("asked", "start", "end"), [("bytes=0-3", 0, 4), ("bytes=4-", 4, None), ("bytes=-3", -3, None)]
    )
    def test_a_range_is_a_206(
        self, http: httpx.Client, url: str, asked: str, start: int, end: int | None
    ) -> None:
        answer = http.get(url, headers={"range": asked})
        assert (answer.status_code, answer.content) == (206, PNG[start:end])
        assert answer.headers["content-range"].endswith(f"/{len(PNG)}")

    def test_a_known_etag_is_a_304(self, http: httpx.Client, url: str) -> None:
        etag = http.get(url).headers["etag"]
        assert http.get(url, headers={"if-none-match": etag}).status_code == 304

    @pytest.mark.parametrize("mime_type", ["text/html", "TEXT/HTML; charset=utf-8"])
    def test_html_is_not_served_as_html(
        self, gateway: Gateway, http: httpx.Client, bucket: str, mime_type: str
    ) -> None:
        gateway.supabase().storage.from_(bucket).upload("a.html", b"<p>", {"content-type": mime_type})
        assert http.get(f"/storage/v1/object/{bucket}/a.html").headers["content-type"] == "text/plain"

    @pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-1"}, {"if-none-match": "*"}])
    def test_objects_run_no_script_on_the_origin_of_the_page(
        self, gateway: Gateway, http: httpx.Client, bucket: str, headers: dict[str, str]
    ) -> None:
        images = gateway.supabase().storage.from_(bucket)
        images.upload("a.svg", b"<svg/>", {"content-type": "image/svg+xml"})
        gateway.supabase().storage.update_bucket(bucket, {"public": True})
        for url in (
            f"{gateway.url}/storage/v1/object/{bucket}/a.svg",
            f"{gateway.url}/storage/v1/object/authenticated/{bucket}/a.svg",
            f"{gateway.url}/storage/v1/object/public/{bucket}/a.svg",
            images.create_signed_url("a.svg", 60)["signedURL"],
        ):
            answer = http.get(url, headers=headers)
            assert answer.status_code in (200, 206, 304)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "sandbox" in policy and "scripts" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"

    def test_a_public_bucket_is_open_by_its_public_path_and_a_private_one_is_not(
        self, gateway: Gateway, anonymous: httpx.Client, bucket: str, url: str
    ) -> None:
        public = url.replace("/object/", "/object/public/")
        assert refused(anonymous.get(public))[1:3] == ("404", "NoSuchBucket")
        gateway.supabase().storage.update_bucket(bucket, {"public": True})
        assert anonymous.get(public).content == PNG
        assert anonymous.get(url).content == PNG
        assert anonymous.get(public.replace("/object/", "/object/info/")).json()["name"] == "a.png"

    def test_bytes_that_vanished_are_a_404(self, gateway: Gateway, http: httpx.Client, bucket: str) -> None:
        before = set(gateway.stored())
        gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
        for path in set(gateway.stored()) - before:
            path.unlink()
        answer = http.get(f"/storage/v1/object/{bucket}/a.png")
        assert refused(answer) == (400, "404", "NoSuchKey", "The resource was not found")

    def test_names_with_special_characters_come_back(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        for name, quoted in {
            "what?.png": "what%3F.png",
            "12:30 (a)&b.png": "12%3A30%20%28a%29%26b.png",
        }.items():
            assert (
                http.post(f"/storage/v1/object/{bucket}/{quoted}", content=name.encode()).status_code == 200
            )
            assert http.get(f"/storage/v1/object/{bucket}/{quoted}").content == name.encode()
        assert len(gateway.supabase().storage.from_(bucket).list()) == 2


class TestSignedUrls:
    def test_a_signed_url_opens_one_object_to_anybody(
        self, gateway: Gateway, anonymous: httpx.Client, bucket: str
    ) -> None:
        images = gateway.supabase().storage.from_(bucket)
        images.upload("a.png", PNG, OPTIONS)
        images.upload("b.png", b"other", OPTIONS)
        url = images.create_signed_url("a.png", 60)["signedURL"]
        assert anonymous.get(url).content == PNG
        assert refused(anonymous.get(url.replace("a.png", "b.png")))[2] == "InvalidSignature"

    def test_an_expired_url_is_refused(self, gateway: Gateway, anonymous: httpx.Client, bucket: str) -> None:
        claims = {"url": f"{bucket}/a.png", "scope": "download", "exp": int(time.time()) - 1}
        token = jwt.encode(claims, gateway.keys.jwt_secret)
        answer = anonymous.get(f"/storage/v1/object/sign/{bucket}/a.png", params={"token": token})
        assert refused(answer) == (400, "400", "InvalidJWT", '"exp" claim timestamp check failed')

    def test_only_who_may_read_gets_a_url(self, gateway: Gateway, bucket: str) -> None:
        gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
        anon = gateway.supabase(gateway.keys.publishable).storage.from_(bucket)
        with pytest.raises(StorageApiError, match="Object not found"):
            anon.create_signed_url("a.png", 60)

    def test_many_urls_at_once_tell_which_failed(
        self, gateway: Gateway, anonymous: httpx.Client, bucket: str
    ) -> None:
        images = gateway.supabase().storage.from_(bucket)
        images.upload("a.png", PNG, OPTIONS)
        good, bad = images.create_signed_urls(["a.png", "none.png"], 60)
        assert good["error"] is None
        assert anonymous.get(good["signedURL"]).content == PNG
        assert bad["error"] == "Either the object does not exist or you do not have access to it"

    def test_an_upload_url_takes_the_permission_to_upload_and_gives_no_other(
        self, gateway: Gateway, anonymous: httpx.Client, bucket: str
    ) -> None:
        with pytest.raises(StorageApiError, match="row-level security"):
            gateway.supabase(gateway.keys.publishable).storage.from_(bucket).create_signed_upload_url("a.png")
        images = gateway.supabase().storage.from_(bucket)
        token = images.create_signed_upload_url("a.png")["token"]
        images.upload_to_signed_url("a.png", token, PNG, OPTIONS)
        download = anonymous.get(f"/storage/v1/object/sign/{bucket}/a.png", params={"token": token})
        assert refused(download)[2] == "InvalidSignature"
        again = {"authorization": f"Bearer {token}"}  # worth no more than anon
        assert anonymous.delete(f"/storage/v1/object/{bucket}/a.png", headers=again).status_code == 400


class TestListing:
    @pytest.fixture
    def images(self, gateway: Gateway, bucket: str) -> Any:
        images = gateway.supabase().storage.from_(bucket)
        for name in ("b.png", "a.png", "f/x.png", "f/y_1.png", "f/g/z.png", "e/w.png"):
            images.upload(name, PNG, OPTIONS)
        return images

    def test_the_policies_decide_what_is_listed(
        self, gateway: Gateway, bucket: str, images: Any, allow: Allow
    ) -> None:
        allow(bucket, "anon", "select", "name like 'f/%'")
        anon = gateway.supabase(gateway.keys.publishable).storage.from_(bucket)
        assert [one["name"] for one in anon.list()] == ["f"]


class TestMovingAndRemoving:
    def test_moving_onto_another_object_is_refused(self, gateway: Gateway, bucket: str) -> None:
        images = gateway.supabase().storage.from_(bucket)
        images.upload("a.png", b"a", OPTIONS)
        images.upload("b.png", b"b", OPTIONS)
        with pytest.raises(StorageApiError) as error:
            images.move("a.png", "b.png")
        assert error.value.status == "409"
        assert images.download("b.png") == b"b"

    @pytest.mark.parametrize("way", ["move", "copy"])
    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_an_overwrite_at_that_moment_is_not_lost(
        self, gateway: Gateway, bucket: str, monkeypatch: pytest.MonkeyPatch, way: str, moment: str
    ) -> None:
        images = gateway.supabase().storage.from_(bucket)
        images.upload("a.png", b"old", OPTIONS)
        copied, overwrites = Files.copy, iter([b"new"])

        async def copy(*arguments: Any) -> str:
            """With an overwrite beside the first."""
            body = next(overwrites, None)
            if body and moment == "before":
                await asyncio.to_thread(gateway.supabase().storage.from_(bucket).update, "a.png", body)
            md5 = await copied(*arguments)
            if body and moment == "after":
                await asyncio.to_thread(gateway.supabase().storage.from_(bucket).update, "a.png", body)
            return md5

        monkeypatch.setattr(Files, "copy", copy)
        stored = len(gateway.stored())
        getattr(images, way)("a.png", "b.png")
        assert images.download("b.png" if way == "move" else "a.png") == b"new"
        assert len(gateway.stored()) == stored + (way == "copy")

    def test_objects_move_and_copy_between_buckets(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        other = f"{bucket}-other"
        gateway.supabase().storage.create_bucket(other)
        gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
        body = {
            "bucketId": bucket,
            "sourceKey": "a.png",
            "destinationBucket": other,
            "destinationKey": "c.png",
        }
        assert http.post("/storage/v1/object/copy", json=body).json()["Key"] == f"{other}/c.png"
        body["destinationKey"] = "m.png"
        assert http.post("/storage/v1/object/move", json=body).status_code == 200
        assert [one["name"] for one in gateway.supabase().storage.from_(other).list()] == ["c.png", "m.png"]
        assert gateway.supabase().storage.from_(bucket).list() == []

    def test_a_copy_takes_a_media_type_and_a_lifetime_of_its_own_and_nothing_else(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
        body = {"bucketId": bucket, "sourceKey": "a.png", "destinationKey": "c.png", "copyMetadata": False}
        given = {"mimetype": "image/odd", "cacheControl": "no-store", "size": 7, "eTag": "mine", "more": "A"}
        copied = http.post("/storage/v1/object/copy", json={**body, "metadata": given}).json()["metadata"]
        assert (copied["mimetype"], copied["cacheControl"]) == ("image/odd", "no-store")
        assert (copied["size"], copied["eTag"] != "mine", "more" in copied) == (len(PNG), True, False)
        refused_type = {**body, "metadata": {"mimetype": {"a": 1}}}
        assert http.post("/storage/v1/object/copy", json=refused_type).status_code == 400

    def test_what_the_caller_may_not_delete_is_left_out_silently(
        self, gateway: Gateway, bucket: str, allow: Allow
    ) -> None:
        allow(bucket, "anon", "select")
        allow(bucket, "anon", "delete", "name = 'mine.png'")
        images = gateway.supabase().storage.from_(bucket)
        images.upload("mine.png", PNG, OPTIONS)
        images.upload("yours.png", PNG, OPTIONS)
        anon = gateway.supabase(gateway.keys.publishable).storage.from_(bucket)
        assert [row["name"] for row in anon.remove(["mine.png", "yours.png"])] == ["mine.png"]
        assert images.exists("yours.png")

    def test_one_object_is_deleted_by_its_path(
        self, gateway: Gateway, http: httpx.Client, bucket: str
    ) -> None:
        gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
        url = f"/storage/v1/object/{bucket}/a.png"
        assert http.delete(url).json() == {"message": "Successfully deleted"}
        assert refused(http.delete(url))[2] == "NoSuchKey"


class TestBuckets:
    def test_a_bucket_lives_and_dies(self, gateway: Gateway) -> None:
        storage = gateway.supabase().storage
        storage.create_bucket("life", options={"public": True, "file_size_limit": 10**6})
        bucket = storage.get_bucket("life")
        assert (bucket.public, bucket.file_size_limit, bucket.allowed_mime_types) == (True, 10**6, None)
        assert storage.update_bucket("life", {"public": False}) == {"message": "Successfully updated"}
        assert not storage.get_bucket("life").public
        assert "life" in [bucket.id for bucket in storage.list_buckets()]
        assert storage.delete_bucket("life") == {"message": "Successfully deleted"}
        with pytest.raises(StorageApiError, match="Bucket not found"):
            storage.get_bucket("life")

    def test_a_taken_name_is_a_duplicate(self, gateway: Gateway, bucket: str) -> None:
        with pytest.raises(StorageApiError) as error:
            gateway.supabase().storage.create_bucket(bucket)
        assert (error.value.status, error.value.code) == ("409", "Duplicate")

    def test_a_bucket_with_objects_stays(self, gateway: Gateway, bucket: str) -> None:
        gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
        with pytest.raises(StorageApiError, match="not empty"):
            gateway.supabase().storage.delete_bucket(bucket)

    def test_anon_neither_sees_nor_makes_buckets(self, gateway: Gateway) -> None:
        storage = gateway.supabase(gateway.keys.publishable).storage
        assert storage.list_buckets() == []
        with pytest.raises(StorageApiError, match="row-level security"):
            storage.create_bucket("mine")

    @pytest.mark.parametrize(("limit", "expected"), [("20MB", 20_000_000), ("512", 512), (None, None)])
    def test_limits_are_told_in_units_too(
        self, gateway: Gateway, http: httpx.Client, bucket: str, limit: str | None, expected: int | None
    ) -> None:
        http.put(f"/storage/v1/bucket/{bucket}", json={"file_size_limit": limit})
        assert gateway.supabase().storage.get_bucket(bucket).file_size_limit == expected


@pytest.mark.parametrize("letter", ["\\u0000", "\\ud800"])
def test_letters_that_the_database_cannot_hold_are_refused(
    http: httpx.Client, bucket: str, letter: str
) -> None:
    content = f'{{"prefix": "{letter}"}}'
    answer = http.post(
        f"/storage/v1/object/list/{bucket}", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    assert http.get(f"/storage/v1/object/{bucket}/a%00b").status_code == 400


def test_metadata_nested_deeper_than_a_reader_goes_are_none(http: httpx.Client, bucket: str) -> None:
    nested = base64.b64encode(b"[" * 20_000).decode()
    answer = http.post(f"/storage/v1/object/{bucket}/a.txt", content=b"a", headers={"x-metadata": nested})
    assert answer.status_code == 200, answer.text


def test_what_is_not_served_says_so(http: httpx.Client) -> None:
    answer = http.get("/storage/v1/render/image/public/images/a.png")
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")


def test_a_page_of_another_local_server_may_ask(anonymous: httpx.Client) -> None:
    asking = {
        "origin": "http://localhost:5173",
        "access-control-request-method": "POST",
        "access-control-request-headers": "apikey,x-upsert",
    }
    answer = anonymous.options("/storage/v1/object/images/a.png", headers=asking)
    assert answer.status_code == 200
    assert "x-upsert" in answer.headers["access-control-allow-headers"]


def test_operations_are_named_for_the_policies(
    gateway: Gateway, db: Connection, bucket: str, allow: Allow
) -> None:
    gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
    allow(bucket, "anon", "select", "storage.operation() = 'storage.object.list'")
    anon = gateway.supabase(gateway.keys.publishable).storage.from_(bucket)
    assert len(anon.list()) == 1
    with pytest.raises(StorageApiError, match="Object not found"):
        anon.download("a.png")


def test_policies_read_the_headers_of_the_request(
    gateway: Gateway, anonymous: httpx.Client, bucket: str, allow: Allow
) -> None:
    gateway.supabase().storage.from_(bucket).upload("a.png", PNG, OPTIONS)
    allow(bucket, "anon", "select", "current_setting('request.headers')::json ->> 'x-team' = 'blue'")
    for team, status in (("blue", 200), ("red", 400)):
        path = f"/storage/v1/object/authenticated/{bucket}/a.png"
        answer = anonymous.get(path, headers={"X-Team": team, "apikey": gateway.keys.publishable})
        assert answer.status_code == status


def test_a_full_disk_is_answered_in_json_and_leaves_nothing(
    gateway: Gateway, http: httpx.Client, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("local.gateway.storage.files._append", full)
    before = set(gateway.stored())
    answer = http.post(f"/storage/v1/object/{bucket}/a.png", content=PNG, headers=OPTIONS)
    assert (answer.status_code, answer.json()["message"]) == (500, "No space left on device")
    assert http.post(f"/storage/v1/object/list/{bucket}", json={"prefix": ""}).json() == []
    assert set(gateway.stored()) <= before


def test_the_bytes_are_their_owners_alone(gateway: Gateway, bucket: str) -> None:
    files = gateway.supabase().storage.from_(bucket)
    files.upload("private.png", PNG, OPTIONS)
    files.copy("private.png", "copy.png")
    assert {stat.S_IMODE(path.stat().st_mode) for path in gateway.stored()} == {0o600}
    folders = {path.parent for path in gateway.stored()}
    assert folders and {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
