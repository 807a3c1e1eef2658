"""The commands' words where Storage, or a gateway before it, refuses a request."""

from __future__ import annotations

import httpx
import pytest
from storage3 import SyncStorageClient

from cli.client.project import UNREACHABLE, storage_errors
from shared.errors import StorageError, StorageUnavailable

PAGE = "<html>at 10.0.0.7</html>"


def refused(answer: httpx.Response | Exception) -> StorageError:
    def answers(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with httpx.Client(transport=httpx.MockTransport(answers)) as http:
        storage = SyncStorageClient("http://storage.test/", {}, http_client=http)
        with pytest.raises(StorageError) as caught, storage_errors("SUPABASE_SECRET_KEY"):
            storage.list_buckets()
    return caught.value


@pytest.mark.parametrize("status", [302, 403, 404, 429, 502])
def test_a_gateways_page_is_not_told_but_what_to_do(status: int) -> None:
    told, passes = str(refused(httpx.Response(status, text=PAGE))), status in (429, 502)
    assert f"A gateway before Storage answered {status}" in told and "html" not in told
    assert told.endswith("Try again later." if passes else UNREACHABLE)


def test_a_gateway_that_refuses_the_key_or_the_size_has_the_remedy_of_storages_own() -> None:
    key = str(refused(httpx.Response(401, json={"message": "Invalid API key"})))
    assert key == "Storage refuses the key: check SUPABASE_SECRET_KEY."
    size = str(refused(httpx.Response(413, text=PAGE)))
    assert size.startswith("A gateway before Storage answered 413. Upload a smaller")


@pytest.mark.parametrize(
    ("status", "code", "message", "expected", "text"),
    [
        (404, "not_found", "Bucket not found", StorageError, "no such bucket"),
        (400, "InvalidKey", "Invalid key: ü", StorageError, "Rename the file"),
        (403, "Unauthorized", "new row violates row-level security policy", StorageError, "policy"),
        (409, "Duplicate", "The resource already exists", StorageError, "--upsert"),
        (429, "too_many_connections", "slow down", StorageUnavailable, "Try again later"),
        (544, "DatabaseTimeout", "timeout", StorageUnavailable, "544"),
        (
            413,
            "Payload too large",
            "exceeded the maximum",
            StorageError,
            "maximum. Upload a smaller",
        ),
    ],
)
def test_storages_errors_become_ours(
    status: int, code: str, message: str, expected: type[StorageError], text: str
) -> None:
    body = {"statusCode": str(status), "error": code, "message": message}
    error = refused(httpx.Response(400, json=body))
    assert isinstance(error, expected) and text in str(error)


def test_a_storage_that_hangs_up_is_told_in_whole_sentences() -> None:
    told = str(refused(httpx.RemoteProtocolError("Server disconnected.")))
    assert told == f"Storage doesn't answer: Server disconnected. {UNREACHABLE}"


def test_a_header_that_cannot_be_sent_is_not_repeated() -> None:
    told = str(refused(httpx.LocalProtocolError(r"Illegal header value b'Bearer hidden\nkey'")))
    assert told == f"Storage doesn't answer: LocalProtocolError. {UNREACHABLE}"
