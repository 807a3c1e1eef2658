"""Uploads to a signed URL: its permissions, and the real server's answers to one without any."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from support.gateways import Gateway

PNG = b"\x89PNG bytes"
TYPED = {"content-type": "image/png"}


@pytest.fixture
def nobody(gateway: Gateway) -> Iterator[httpx.Client]:
    """No key, no token."""
    with httpx.Client(base_url=gateway.url) as client:
        yield client


@pytest.fixture
def url(gateway: Gateway, bucket: str) -> str:
    """Signed, for a new object a.png, without upsert."""
    signed: str = gateway.supabase().storage.from_(bucket).create_signed_upload_url("a.png")["signed_url"]
    return signed


def refused(answer: httpx.Response) -> tuple[int, str, str, str]:
    body = answer.json()
    return answer.status_code, body["statusCode"], body["code"], body["message"]


def test_bare_bytes_and_a_form_arrive_with_all_that_they_declare(
    gateway: Gateway, nobody: httpx.Client, bucket: str, url: str
):
    form = {"cacheControl": "60", "metadata": '{"camera": "K1"}'}
    answer = nobody.put(url, data=form, files={"": ("a.png", PNG, "image/png")})
    assert (answer.status_code, answer.json()["Key"]) == (200, f"{bucket}/a.png")
    images = gateway.supabase().storage.from_(bucket)
    told = images.info("a.png")
    assert (told["cache_control"], told["metadata"]) == ("max-age=60", {"camera": "K1"})

    other = images.create_signed_upload_url("b.png")["signed_url"]
    headers = {**TYPED, "cache-control": "max-age=9", "x-metadata": "eyJhIjogMX0="}
    assert nobody.put(other, content=PNG, headers=headers).status_code == 200
    told = images.info("b.png")
    assert (told["content_type"], told["cache_control"]) == ("image/png", "max-age=9")
    assert told["metadata"] == {"a": 1}


def test_a_url_that_permits_no_upsert_serves_once(nobody: httpx.Client, url: str):
    assert nobody.put(url, content=PNG, headers=TYPED).status_code == 200
    again = nobody.put(url, content=b"other", headers={**TYPED, "x-upsert": "true"})
    assert refused(again) == (400, "409", "KeyAlreadyExists", "The resource already exists")


def test_a_url_signed_for_an_upsert_replaces(gateway: Gateway, nobody: httpx.Client, bucket: str):
    images = gateway.supabase().storage.from_(bucket)
    images.upload("a.png", PNG, TYPED)
    with gateway.http() as http:
        path = f"/storage/v1/object/upload/sign/{bucket}/a.png"
        signed = http.post(path, headers={"x-upsert": "true"}).json()["url"]
    assert nobody.put(f"/storage/v1{signed}", content=b"new", headers=TYPED).status_code == 200
    assert images.download("a.png") == b"new"


def test_the_object_belongs_to_whoever_signed(
    gateway: Gateway, nobody: httpx.Client, bucket: str, db: Any, allow: Any
):
    allow(bucket, "authenticated", "insert")
    user = "00000000-0000-4000-8000-000000000001"
    token = gateway.keys.mint("authenticated", {"sub": user})
    with gateway.http(gateway.keys.publishable, authorization=f"Bearer {token}") as http:
        signed = http.post(f"/storage/v1/object/upload/sign/{bucket}/a.png").json()["url"]
    nobody.put(f"/storage/v1{signed}", content=PNG, headers=TYPED)
    owner = db.execute("select owner_id from storage.objects where bucket_id = %s", [bucket]).fetchone()
    assert owner == (user,)


def test_a_url_that_is_expired_forged_or_anothers_permits_nothing(
    gateway: Gateway, nobody: httpx.Client, bucket: str, url: str
):
    claims = {"url": f"{bucket}/a.png", "scope": "upload", "upsert": False, "exp": int(time.time()) + 60}
    key = gateway.keys.jwt_secret
    invalid = ("400", "InvalidJWT")
    foreign = ("400", "InvalidSignature", "Token is not scoped for upload")
    for token, expected in {
        jwt.encode({**claims, "exp": int(time.time()) - 1}, key): (
            *invalid,
            '"exp" claim timestamp check failed',
        ),
        jwt.encode(claims, "x" * 32): (*invalid, "signature verification failed"),
        "nonsense": (*invalid, "Invalid Compact JWS"),
        jwt.encode({**claims, "url": f"{bucket}/b.png"}, key): (
            "400",
            "InvalidSignature",
            "Invalid signature",
        ),
        jwt.encode({**claims, "scope": "download"}, key): foreign,
        str(gateway.keys.service_role): foreign,
    }.items():
        answer = nobody.put(url.split("?")[0], params={"token": token}, content=PNG, headers=TYPED)
        assert refused(answer) == (400, *expected)
    missing = nobody.put(url.split("?")[0], content=PNG, headers=TYPED)
    assert missing.json()["message"] == "querystring must have required property 'token'"
    assert gateway.supabase().storage.from_(bucket).list() == []


def test_the_buckets_limits_hold_here_too(gateway: Gateway, nobody: httpx.Client, bucket: str, url: str):
    stored = gateway.stored()
    limits = {"file_size_limit": 1000, "allowed_mime_types": ["image/*"]}
    gateway.supabase().storage.update_bucket(bucket, limits)
    answer = nobody.put(url, content=b"x" * 2000, headers=TYPED)
    assert refused(answer) == (400, "413", "EntityTooLarge", "The object exceeded the maximum allowed size")
    answer = nobody.put(url, content=b"<p>", headers={"content-type": "text/html"})
    assert refused(answer) == (400, "415", "InvalidMimeType", "mime type text/html is not supported")
    assert gateway.stored() == stored
