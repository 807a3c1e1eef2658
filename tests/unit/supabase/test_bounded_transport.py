"""A gateway gone wrong, or one that means harm: its answers cost little, and none reaches others."""

from __future__ import annotations

import gzip
from itertools import count

import httpx
import pytest
from support.dripping_server import Gateway, dripping_server, slowly

from shared.errors import DatabaseUnavailable, SettingsError
from shared.settings import Secret
from shared.supabase import bounded_transport, credentials
from shared.supabase.database import Database, http_client

JSON = {"Content-Type": "application/json"}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

gateway = pytest.fixture(dripping_server)


def caller(name: str, url: str, http: httpx.Client) -> Database:
    return Database(url, credentials.caller({"Authorization": f"Bearer {name}"}, Secret("ours")), http)


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "head": (HEAD + b"X: ", b"a"),
    "interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "body": (HEAD + b"Content-Length: 1000\r\n\r\n", b" "),
    "chunk's length": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"1\r\n7\r\n0\r\n", b"X: 1\r\n"),
    "bytes behind what is packed": (HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"7"), b"a"),
}


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_no_part_of_an_answer_may_drip_for_ever(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, drip: tuple[bytes, bytes]
):
    monkeypatch.setattr(bounded_transport, "TOTAL_SECONDS", 0.2)
    url = gateway(slowly(*drip), 0.05)
    with http_client() as http, pytest.raises(DatabaseUnavailable, match=r"0\.2 seconds|no answer in time"):
        caller("anybody", url, http).call("f")


def test_calls_go_through_the_environments_proxy_within_the_same_bounds(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(bounded_transport, "TOTAL_SECONDS", 2.0)
    answer = HEAD + b"Content-Length: 1\r\n\r\n7"
    for beginning in ("http://", ""):
        proxy = gateway(iter([answer]), 0.0)
        monkeypatch.setenv("http_proxy", beginning + proxy.removeprefix("http://"))
        with http_client() as http:
            assert caller("anybody", "http://project.invalid", http).call("f") == 7
    monkeypatch.setenv("http_proxy", gateway(slowly(*DRIPS["body"]), 0.05))
    with http_client() as http, pytest.raises(DatabaseUnavailable, match=r"2\.0 seconds|no answer in time"):
        caller("anybody", "http://project.invalid", http).call("f")


def test_a_project_that_the_environment_excepts_is_called_directly(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    url = gateway(iter([HEAD + b"Content-Length: 1\r\n\r\n7"]), 0.0)
    with http_client() as http:
        assert caller("anybody", url, http).call("f") == 7


@pytest.mark.parametrize("proxy", ["socks5://proxy.invalid:1080", "ftp://someone:word@proxy.invalid"])
def test_a_proxy_of_another_kind_is_refused_as_a_setting(monkeypatch: pytest.MonkeyPatch, proxy: str):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    with http_client() as http, pytest.raises(SettingsError, match="HTTP_PROXY") as raised:
        caller("anybody", "http://project.invalid", http).call("f")
    assert "proxy.invalid" not in str(raised.value)


def test_the_environments_certificates_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/certificates.pem")
    with http_client() as http, pytest.raises(SettingsError, match="REQUESTS_CA_BUNDLE"):
        caller("anybody", "https://project.invalid", http).call("f")


FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "chunks": (CHUNKED, b"1\r\n \r\n" * 100),
    "chunk extensions": (CHUNKED, b"1;" + b"a" * 1000 + b"\r\n \r\n"),
    "bytes behind what is packed": (HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"7"), b"a" * 9),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_every_byte_of_an_answer_counts(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, flood: tuple[bytes, bytes]
):
    monkeypatch.setattr(bounded_transport, "MAX_ANSWER", 100_000)
    url = gateway(slowly(*flood), 0.0)
    with http_client() as http, pytest.raises(DatabaseUnavailable, match="100000 bytes"):
        caller("anybody", url, http).call("f")


def answering(body: bytes, **headers: str) -> Database:
    stream = httpx.ByteStream(body)
    answers = httpx.MockTransport(lambda _: httpx.Response(200, headers=JSON | headers, stream=stream))
    return caller("anybody", "http://supabase.test", http_client(answers))


@pytest.mark.parametrize("coding", ["gzip, gzip", "gzip,gzip", "deflate", "br", "x"])
def test_an_answer_is_packed_once_at_most(coding: str):
    """Of two codings 5 kB are 3 GB, which come between two looks at the bounds."""
    packed = answering(gzip.compress(gzip.compress(b"7")), **{"Content-Encoding": coding})
    with pytest.raises(DatabaseUnavailable, match=f"coding '{coding}'. Expected gzip"):
        packed.call("f")


def test_an_answer_that_is_packed_wrongly_is_told_so():
    with pytest.raises(DatabaseUnavailable, match="no gzip"):
        answering(b"seven", **{"Content-Encoding": "gzip"}).call("f")


@pytest.mark.parametrize("coding", ["gzip", "GZIP"])
def test_an_answer_that_is_packed_as_asked_for_is_read(coding: str):
    assert answering(gzip.compress(b"7"), **{"Content-Encoding": coding}).call("f") == 7


def test_one_callers_cookies_go_along_with_nobody_elses_calls():
    """Balancers and gateways that sign people in set them, and one connection pool is everybody's."""
    numbers, seen = count(), []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["accept-encoding"], request.headers.get("cookie")))
        return httpx.Response(200, headers={"Set-Cookie": f"session{next(numbers)}=theirs; Path=/"}, json=7)

    with http_client(httpx.MockTransport(answer)) as http:
        for name in ("somebody", "somebody else", "somebody"):
            assert caller(name, "http://supabase.test", http).call("f") == 7
        assert not http.cookies
    assert seen == [("gzip", None)] * 3
