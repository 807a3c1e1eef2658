"""Storage over HTTP: names that no URL parser may touch, and every way in which a download goes wrong."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import requests
import responses
import urllib3

from shared.errors import (
    ImageTooLarge,
    InvalidObjectName,
    NeuralSearchError,
    ObjectExists,
    ObjectNotFound,
    PayloadTooLarge,
    StaleObject,
    StorageError,
    StorageForbidden,
    StorageRefused,
    StorageUnavailable,
)
from shared.runtime import logs
from shared.settings import Secret
from shared.supabase import credentials, retry_after, storage_answers
from shared.supabase.storage import Storage, http_session, object_path
from shared.testing import md5

URL = "http://supabase.test"
CALLER = credentials.caller({"Authorization": "Bearer user"}, Secret("ours"))
DATA = b"the bytes of an image"


@pytest.fixture
def fake() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def client(url: str = URL) -> Storage:
    return Storage(url, CALLER, requests.Session())


def download(name: str = "a/b.png", **given: object) -> bytes:
    return client().download("images", name, **{"version": "v1", "max_bytes": 1000, **given})  # type: ignore[arg-type]


def get(fake: responses.RequestsMock, name: str = "a/b.png", **answer: object) -> None:
    fake.get(f"{URL}/storage/v1/object/authenticated/images/{name}", **{"body": DATA, **answer})  # type: ignore[arg-type]


def test_a_session_reads_the_environments_proxies_and_certificates_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "inside.test")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/certificates.pem")
    outside, inside = (http_session(f"https://{host}") for host in ("supabase.test", "inside.test"))
    monkeypatch.delenv("https_proxy")
    assert outside.proxies["https"] == "http://proxy.test:3128"
    assert "https" not in inside.proxies
    assert outside.verify == "/certificates.pem"
    read = []
    monkeypatch.setattr(requests.sessions, "get_environ_proxies", lambda *_, **__: read.append(1) or {})
    with responses.RequestsMock() as mock:
        mock.post("https://supabase.test/storage/v1/object/sign/images", json=[])
        assert Storage("https://supabase.test", CALLER, outside).sign("images", ["a"], seconds=1) == {}
        assert mock.calls[0].request.req_kwargs["verify"] == "/certificates.pem"
        assert mock.calls[0].request.req_kwargs["proxies"]["https"] == "http://proxy.test:3128"
    assert not read


def test_no_cookie_of_storages_is_kept(fake: responses.RequestsMock):
    """None is sent: a jar would only grow, for as long as the process lives."""
    session = http_session(URL)
    get(fake, headers={"Set-Cookie": "session=1; Path=/"})
    for _ in range(2):
        Storage(URL, CALLER, session).download("images", "a/b.png", version="v1", max_bytes=1000)
    assert not session.cookies
    assert "Cookie" not in fake.calls[1].request.headers


def test_a_download_asks_for_the_version_as_the_caller_and_uncompressed(fake: responses.RequestsMock):
    get(fake)
    assert download() == DATA
    [call] = fake.calls
    assert call.request.url == f"{URL}/storage/v1/object/authenticated/images/a/b.png?v=v1"
    assert call.request.headers["Authorization"] == "Bearer user"
    assert call.request.headers["apikey"] == "ours"
    assert call.request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("what?.png", "what%3F.png"),
        ("a#b.png", "a%23b.png"),
        ("2025-01-01T12:30:00.png", "2025-01-01T12%3A30%3A00.png"),
        ("a//b.png", "a//b.png"),
        ("..a/b...png", "..a/b...png"),
        ("a%20b.png", "a%2520b.png"),
        ("a b+c&d=e.png", "a%20b%2Bc%26d%3De.png"),
        ("žluť.png", "%C5%BElu%C5%A5.png"),
    ],
)
def test_no_name_can_ask_for_another_object(name: str, path: str):
    assert object_path("images", name) == f"images/{path}"


TOO_LONG = ("a" * 1200, "é" * 600, "/😀" * 240)
CLIMBING = ("a/../../../../../auth/v1/logout", "..", "./b.png", "a/.", "a\\..\\..\\b")


@pytest.mark.parametrize("name", [*CLIMBING, *TOO_LONG])
@pytest.mark.parametrize(
    "ask",
    [
        lambda storage, name: storage.download("images", name, version="v1", max_bytes=10),
        lambda storage, name: storage.download_shared("images", name, token="t", max_bytes=10),
        lambda storage, name: storage.upload("images", name, b"", mime_type="image/png"),
        lambda storage, name: storage.sign_transformation("images", name, side=400, seconds=1),
        lambda storage, name: storage.info("images", name),
        lambda storage, name: storage.info("..", "a.png"),
    ],
    ids=["download", "download shared", "upload", "sign transformation", "info", "a bucket"],
)
def test_no_name_can_ask_for_what_lies_beside_storage(
    fake: responses.RequestsMock, ask: Callable[[Storage, str], object], name: str
):
    """Gateways resolve dots, encoded ones too: a logout in the name of whoever finds the object."""
    with pytest.raises(InvalidObjectName, match="Move the object to another name"):
        ask(client(), name)
    assert len(fake.calls) == 0


def test_what_has_such_a_name_has_no_address(fake: responses.RequestsMock):
    names = [*CLIMBING, *TOO_LONG, "a.png"]
    rows = [{"error": None, "path": name, "signedURL": f"/object/sign/{name}?token=t"} for name in names]
    fake.post(f"{URL}/storage/v1/object/sign/images", json=rows)
    fake.get(f"{URL}/storage/v1/object/info/public/images/a.png", json={})
    assert [*client().sign("images", names, seconds=1)] == ["a.png"]
    assert [*client().public_urls("images", names)] == ["a.png"]
    assert client().public_urls("images", [*CLIMBING, *TOO_LONG]) == {}
    assert len(fake.calls) == 2


@pytest.fixture
def server() -> Iterator[Callable[[bytes], tuple[str, list[bytes]]]]:
    """A server that sends the given bytes and hangs up, with a record of its requests."""
    sockets: list[socket.socket] = []

    def start(answer: bytes) -> tuple[str, list[bytes]]:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)
        asked: list[bytes] = []

        def serve() -> None:
            connection, _ = listener.accept()
            listener.close()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}", asked

    yield start
    for listener in sockets:
        listener.close()


def test_the_path_reaches_the_server_as_it_was_quoted(server: Callable[[bytes], tuple[str, list[bytes]]]):
    url, asked = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    assert client(url).download("images", "a/%2E/b//c?.png", version="v1", max_bytes=10) == b"ok"
    assert asked[0].startswith(
        b"GET /storage/v1/object/authenticated/images/a/%252E/b//c%3F.png?v=v1 HTTP/1.1\r\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf of it",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\nhalf of it",
    ],
    ids=["length", "chunked"],
)
def test_a_body_that_is_cut_off_is_stale(server: Callable[[bytes], tuple[str, list[bytes]]], answer: bytes):
    url, _ = server(answer)
    with pytest.raises(StaleObject, match="cut off"):
        client(url).download("images", "a.png", version="v1", max_bytes=1000)


def test_a_refusal_that_is_cut_off_speaks_of_no_other_bytes(
    server: Callable[[bytes], tuple[str, list[bytes]]],
):
    """A gateway hangs up while an upload is still being sent."""
    url, _ = server(b"HTTP/1.1 413 Too Large\r\nContent-Length: 20\r\n\r\nhalf of it")
    with pytest.raises(StorageError, match="answer was cut off") as refused:
        client(url).upload("images", "a.png", b"bytes", mime_type="image/png")
    assert refused.type is StorageError


def test_a_server_that_hangs_up_or_is_not_there_is_unavailable(
    server: Callable[[bytes], tuple[str, list[bytes]]],
):
    url, _ = server(b"")
    for _attempt in ("hangs up", "refuses"):
        with pytest.raises(StorageUnavailable, match="can't be reached") as refused:
            client(url).download("images", "a.png", version="v1", max_bytes=1000)
        assert "127.0.0.1" not in str(refused.value), "jobs that wait keep it, where their uploaders read it"
    assert str(refused.value) == "Storage can't be reached: Connection refused."


def test_a_header_that_is_too_long_is_this_objects_fault(
    server: Callable[[bytes], tuple[str, list[bytes]]],
):
    """An uploader chooses the media type and the cache control."""
    url, _ = server(b"HTTP/1.1 200 OK\r\nContent-Type: image/png;x=" + b"x" * 70_000 + b"\r\n\r\n")
    with pytest.raises(StorageError, match="header of more than 64 KiB") as caught:
        client(url).download_shared("images", "a.png", token="t", max_bytes=10)
    assert (type(caught.value), caught.value.status, caught.value.outcome) == (StorageError, 502, "doubtful")


def test_more_bytes_than_allowed_are_not_read(fake: responses.RequestsMock):
    get(fake, body=b"x" * 1001)
    with pytest.raises(ImageTooLarge, match="more than 1000 bytes"):
        download()


def test_nothing_is_read_of_a_body_that_is_announced_as_longer(
    server: Callable[[bytes], tuple[str, list[bytes]]],
):
    """A video in a public bucket cost 57 MB of the project's traffic for each preview that was asked for."""
    url, _ = server(b"HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n")
    with pytest.raises(ImageTooLarge, match="more than 10 bytes"):
        client(url).download("images", "a.png", version="v1", max_bytes=10)


def test_bytes_of_another_size_or_etag_are_stale(fake: responses.RequestsMock):
    get(fake, headers={"ETag": md5(b"older bytes")})
    with pytest.raises(StaleObject, match="the object's row says 7"):
        download(size=7)
    with pytest.raises(StaleObject, match="ETag"):
        download(size=len(DATA), etag=md5(DATA))


@pytest.mark.parametrize("sent", [md5(DATA), f"W/{md5(DATA)}", md5(DATA).strip('"')])
def test_the_right_bytes_are_recognised_however_the_etag_is_written(fake: responses.RequestsMock, sent: str):
    get(fake, headers={"ETag": sent})
    assert download(size=len(DATA), etag=md5(DATA)) == DATA


def refusal(status: str, code: str = "Code") -> str:
    return json.dumps({"statusCode": status, "error": "error", "message": "why", "code": code})


@pytest.mark.parametrize(
    ("http", "body", "kind"),
    [
        (400, refusal("404", "NoSuchKey"), ObjectNotFound),
        (400, refusal("403", "AccessDenied"), StorageForbidden),
        (400, refusal("401", "InvalidJWT"), StorageForbidden),
        (400, refusal("409", "KeyAlreadyExists"), ObjectExists),
        (400, refusal("413", "EntityTooLarge"), PayloadTooLarge),
        (400, refusal("415", "InvalidMimeType"), StorageRefused),
        (400, refusal("400", "InvalidKey"), StorageRefused),
        (429, refusal("429", "SlowDown"), StorageUnavailable),
        (400, refusal("429", "SlowDown"), StorageUnavailable),
        (544, refusal("544", "DatabaseTimeout"), StorageUnavailable),
        (500, refusal("500", "InternalError"), StorageError),
        (502, "<html>Bad Gateway</html>", StorageUnavailable),
        (503, "", StorageUnavailable),
        (404, "[]", StorageUnavailable),
        (400, "<html>Bad Request</html>", StorageUnavailable),
        (500, "<html>Internal Server Error</html>", StorageUnavailable),
        (540, '{"message": "Project paused"}', StorageUnavailable),
        (413, "<html>Request Entity Too Large</html>", PayloadTooLarge),
        (302, "", StorageUnavailable),
    ],
)
def test_the_status_is_read_from_storages_error_body(
    fake: responses.RequestsMock, http: int, body: str, kind: type[NeuralSearchError]
):
    get(fake, status=http, body=body)
    with pytest.raises(NeuralSearchError) as raised:
        download()
    assert type(raised.value) is kind


def test_storages_own_retry_after_is_kept(fake: responses.RequestsMock):
    get(fake, status=429, body=refusal("429"), headers={"Retry-After": "42"})
    with pytest.raises(StorageUnavailable) as raised:
        download()
    assert raised.value.retry_after == 42


@pytest.mark.parametrize("etag", [None, md5(DATA)])
def test_without_an_etag_in_the_answer_the_bytes_themselves_are_compared(
    fake: responses.RequestsMock, etag: str | None
):
    get(fake)
    assert download(etag=etag) == DATA
    with pytest.raises(StaleObject, match="ETag"):
        download(size=len(DATA), etag=md5(b"newer bytes"))
    assert (
        download(etag='"0123456789abcdef0123456789abcdef-2"') == DATA
    )  # of parts: says nothing of the whole


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("42", 42),
        ("0", 10),  # of PostgREST, while its database is away
        ("999999", 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 3600),
        ("Wed, 21 Oct 2099 07:28:00 -0000", 3600),
        ("9" * 5000, 10),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", 10),
        ("soon", 10),
        ("-5", 10),
        ("", 10),
        (None, 10),
    ],
)
def test_retry_after_is_a_number_or_a_date_and_never_absurd(header: str | None, wait: int):
    assert retry_after.seconds(header) == wait


def answer_of(status: str, body: str = "", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", body)
    return "\r\n".join(lines).encode()


NAMING = {
    "nothing": b"",
    "another address": answer_of(
        "302 Found", "", "Location: http://login.test/?next=/object/of-grace/her%20cat.png"
    ),
    "the path": answer_of(
        "503 Busy", '{"message": "no upstream for /storage/v1/object/of-grace/her%20cat.png"}'
    ),
    "the name": answer_of("503 Busy", '{"message": "no upstream for of-grace/her cat.png"}'),
    "a part of the name": answer_of("503 Busy", '{"message": "no cat"}'),
    "the quoted path": answer_of("503 Busy", '{"message": "no of%2dgrace%2fher%2520cat.png"}'),
    "a status": answer_of("503 Busy", '{"message": "busy", "statusCode": "503 of-grace/her cat.png"}'),
    "a code": answer_of("503 Busy", '{"message": "busy", "code": "of-grace/her cat.png"}'),
    "another host": answer_of("302 Found", "", "Location: http://of-grace.her-cat.test/"),
}


@pytest.mark.parametrize("naming", NAMING)
def test_a_fault_that_stops_others_jobs_names_no_object(
    server: Callable[[bytes], tuple[str, list[bytes]]], naming: str
):
    """Its words are kept with each of them, where their uploaders read them."""
    url, _ = server(NAMING[naming])
    for _attempt in ("answers", "refuses"):
        with pytest.raises(StorageUnavailable) as told:
            client(url).download("of-grace", "her cat.png", version="v1", max_bytes=1000)
        assert not re.search("grace|cat", str(told.value))


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "500 Internal"])
def test_nor_does_a_refusal_of_the_key(server: Callable[[bytes], tuple[str, list[bytes]]], status: str):
    body = '{"message": "Denied: her cat", "error": "of-grace/her cat.png", "code": "her cat"}'
    url, _ = server(answer_of(status, body))
    with pytest.raises(StorageError) as told:
        client(url).download("of-grace", "her cat.png", version="v1", max_bytes=1000)
    assert not re.search("grace|cat", str(told.value))


def test_plain_words_of_storage_are_told(server: Callable[[bytes], tuple[str, list[bytes]]]):
    url, _ = server(answer_of("403 Forbidden", '{"message": "signature verification failed"}'))
    with pytest.raises(StorageForbidden, match=r"Storage: signature verification failed \(403\)\."):
        client(url).download("of-grace", "her cat.png", version="v1", max_bytes=1000)


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


FOREIGN = {*subclasses(requests.RequestException), *subclasses(urllib3.exceptions.HTTPError), OSError}


@pytest.mark.parametrize("foreign", sorted(FOREIGN, key=repr), ids=lambda error: error.__name__)
def test_no_error_of_requests_or_urllib3_is_left_unmapped(foreign: type[Exception]):
    error = foreign.__new__(foreign)
    error.args = ("why",)
    error.__dict__.update(partial=1, expected=2, length="x", response=None)
    translated = storage_answers.translate(error)
    assert isinstance(translated, StorageError)


def test_a_storage_that_cannot_be_reached_is_everybodys_trouble_and_silence_is_one_objects():
    assert type(storage_answers.translate(requests.ConnectTimeout())) is StorageUnavailable
    assert type(storage_answers.translate(requests.ConnectionError())) is StorageUnavailable
    assert type(storage_answers.translate(requests.ReadTimeout())) is StorageError


def test_an_upload_says_what_it_is_and_whether_it_may_overwrite(fake: responses.RequestsMock):
    fake.post(f"{URL}/storage/v1/object/images/a/b.png", json={"Key": "images/a/b.png", "Id": "7"})
    assert client().upload("images", "a/b.png", DATA, mime_type="image/png", upsert=True) == "7"
    [call] = fake.calls
    assert call.request.headers["x-upsert"] == "true"
    assert b"Content-Type: image/png" in call.request.body
    assert b'filename="b.png"' in call.request.body


def test_an_uploads_answer_without_an_id_is_storages_error(fake: responses.RequestsMock):
    fake.post(f"{URL}/storage/v1/object/images/a.png", json={"Key": "images/a.png"})
    with pytest.raises(StorageError, match="Storage answered"):
        client().upload("images", "a.png", DATA, mime_type="image/png")


def test_signing_leaves_out_what_the_caller_may_not_read(fake: responses.RequestsMock):
    rows = [
        {"error": None, "path": "a?.png", "signedURL": "/object/sign/images/a?.png?token=t.o.k"},
        {"error": "Either the object does not exist or …", "path": "b.png", "signedURL": None},
    ]
    fake.post(f"{URL}/storage/v1/object/sign/images", json=rows)
    signed = client().sign("images", ["a?.png", "b.png"], seconds=600)
    assert signed == {"a?.png": f"{URL}/storage/v1/object/sign/images/a%3F.png?token=t.o.k"}
    assert json.loads(fake.calls[0].request.body) == {"paths": ["a?.png", "b.png"], "expiresIn": 600}


def test_only_a_public_bucket_has_urls_for_everybody(fake: responses.RequestsMock):
    info = f"{URL}/storage/v1/object/info/public"
    fake.get(f"{info}/open/a%3F.png", json={"name": "a?.png"})
    assert client().public_urls("open", ["a?.png", "b.png"]) == {
        "a?.png": f"{URL}/storage/v1/object/public/open/a%3F.png",
        "b.png": f"{URL}/storage/v1/object/public/open/b.png",
    }
    gone = {"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"}
    fake.get(f"{info}/closed/a.png", status=400, json=gone)
    assert client().public_urls("closed", ["a.png"]) == {}


@pytest.mark.parametrize("body", ["<html>", "{}", "7", '["a.png"]', '[{"signedURL": "/a.png?token=t"}]'])
def test_a_signing_answer_that_makes_no_sense_is_storages_error(fake: responses.RequestsMock, body: str):
    fake.post(f"{URL}/storage/v1/object/sign/images", body=body)
    with pytest.raises(StorageError, match="Storage answered"):
        client().sign("images", ["a.png"], seconds=600)


TOKEN = "eyJhbGciOiJIUzI1NiJ9.e30.c2VjcmV0"
HEAD = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n%s\r\n\r\n"
ANSWERS = {
    "nothing": b"",
    "another address": HEAD % (b"302 Found", b"Location: /elsewhere?token=%s" % TOKEN.encode()),
}


@pytest.mark.parametrize("answer", [*ANSWERS, None])
def test_a_signed_address_is_neither_told_nor_logged_with_its_token(
    answer: str | None, capfd: pytest.CaptureFixture[str]
):
    """Whoever has it reads the object for ten minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if answer is None:
            server.close()
        else:
            threading.Thread(target=_answer_once, args=(server, ANSWERS[answer])).start()
        with pytest.raises(StorageUnavailable) as caught:
            client(f"http://127.0.0.1:{port}").download_shared("b", "a.png", token=TOKEN, max_bytes=9)
    logs.write("request failed", severity="ERROR", error=caught.value)
    logged = capfd.readouterr().err
    assert "request failed" in logged and TOKEN not in logged
    assert TOKEN not in str(caught.value.problem())


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


@pytest.mark.parametrize(("status", "kind"), [(200, StorageError), (500, StorageUnavailable)])
def test_an_answer_that_is_nested_too_deep_is_storages_fault(
    fake: responses.RequestsMock, status: int, kind: type[NeuralSearchError]
):
    fake.post(f"{URL}/storage/v1/object/sign/images", body="[" * 60_000, status=status)
    with pytest.raises(NeuralSearchError) as raised:
        client().sign("images", ["a.png"], seconds=1)
    assert type(raised.value) is kind
