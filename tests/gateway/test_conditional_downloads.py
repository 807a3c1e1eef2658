"""Ranges and conditional requests, answered as the real server with its back end does."""

from __future__ import annotations

import httpx
import pytest
from support.gateways import Gateway

DATA = b"0123456789"
PAST, FUTURE = "Sat, 01 Jan 2000 00:00:00 GMT", "Wed, 01 Jan 2042 00:00:00 GMT"


@pytest.fixture
def url(gateway: Gateway, bucket: str) -> str:
    gateway.supabase().storage.from_(bucket).upload("a.txt", DATA, {"content-type": "text/plain"})
    return f"/storage/v1/object/{bucket}/a.txt"


@pytest.fixture
def etag(http: httpx.Client, url: str) -> str:
    return str(http.head(url).headers["etag"])


@pytest.fixture
def modified(http: httpx.Client, url: str) -> str:
    return str(http.head(url).headers["last-modified"])


@pytest.mark.parametrize("condition", ["{}", "W/{}", '"other", {}', "*"])
def test_bytes_that_the_client_has_are_not_sent_again(
    http: httpx.Client, url: str, etag: str, condition: str
):
    answer = http.get(url, headers={"if-none-match": condition.format(etag)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag
    assert answer.headers["cache-control"] == "max-age=3600"


def test_an_etag_decides_over_a_date(http: httpx.Client, url: str, etag: str):
    changed = {"if-none-match": '"other"', "if-modified-since": FUTURE}
    assert http.get(url, headers=changed).content == DATA
    same = {"if-none-match": etag, "if-modified-since": PAST}
    assert http.get(url, headers=same).status_code == 304


def test_a_date_alone_is_heeded(http: httpx.Client, url: str, modified: str):
    assert http.get(url, headers={"if-modified-since": modified}).status_code == 304
    assert http.head(url, headers={"if-modified-since": FUTURE}).status_code == 304
    assert http.get(url, headers={"if-modified-since": PAST}).content == DATA
    assert http.get(url, headers={"if-unmodified-since": modified}).content == DATA


def test_a_date_that_cant_be_read_is_as_if_it_werent_there(http: httpx.Client, url: str):
    for name in ("if-modified-since", "if-unmodified-since"):
        for date in ("yesterday", f"Sat, 01 Jan {'9' * 20} 00:00:00 GMT"):
            assert http.get(url, headers={name: date}).content == DATA


@pytest.mark.parametrize(
    "condition",
    [{"if-match": '"other"'}, {"if-unmodified-since": PAST}, {"if-match": '"other"', "if-none-match": "*"}],
)
def test_a_condition_that_fails_is_a_412(http: httpx.Client, url: str, condition: dict[str, str]):
    answer = http.get(url, headers={"range": "bytes=0-3", **condition})
    assert (answer.status_code, answer.json()["code"]) == (412, "PreconditionFailed")


def test_a_condition_that_holds_lets_the_range_through(http: httpx.Client, url: str, etag: str):
    asked = {"range": "bytes=0-3", "if-match": etag, "if-unmodified-since": PAST}
    answer = http.get(url, headers=asked)
    assert (answer.status_code, answer.content) == (206, b"0123")


@pytest.mark.parametrize(
    ("asked", "content", "told"),
    [
        ("bytes=2-5", b"2345", "bytes 2-5/10"),
        ("BYTES=7-", b"789", "bytes 7-9/10"),
        ("bYtEs=-4", b"6789", "bytes 6-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=-99", DATA, "bytes 0-9/10"),
    ],
)
def test_a_range_is_sent_and_told(http: httpx.Client, url: str, asked: str, content: bytes, told: str):
    for method in ("GET", "HEAD"):
        answer = http.request(method, url, headers={"range": asked})
        assert (answer.status_code, answer.headers["content-range"]) == (206, told)
        assert answer.headers["content-length"] == str(len(content))
        assert answer.content == (content if method == "GET" else b"")


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,4-5", "lines=1-2", "bytes=a-b", "bytes=-", "0-4", f"bytes=0-{'9' * 5000}"]
)
def test_several_ranges_and_what_is_no_range_get_everything(http: httpx.Client, url: str, asked: str):
    answer = http.get(url, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=5-2", "bytes=-0"])
def test_a_range_without_any_byte_is_refused(http: httpx.Client, url: str, asked: str):
    answer = http.get(url, headers={"range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "InvalidRange")


def test_if_range_is_not_looked_at(http: httpx.Client, url: str):
    """The real server doesn't pass it on to its back end either."""
    answer = http.get(url, headers={"range": "bytes=0-3", "if-range": '"other"'})
    assert (answer.status_code, answer.content) == (206, b"0123")


def test_public_and_signed_addresses_answer_conditions_too(
    gateway: Gateway, http: httpx.Client, bucket: str, url: str, etag: str
):
    gateway.supabase().storage.update_bucket(bucket, {"public": True})
    signed = gateway.supabase().storage.from_(bucket).create_signed_url("a.txt", 60)["signedURL"]
    for address in (url.replace("/object/", "/object/public/"), signed):
        assert http.get(address, headers={"if-none-match": etag}).status_code == 304
        assert http.get(address, headers={"range": "bytes=-1"}).content == b"9"
