"""The adapter to supabase-py: its requests, and that no foreign error comes out of it."""

from __future__ import annotations

import gzip
import inspect
import socket

import httpx
import pytest
from postgrest.exceptions import APIError

from shared.errors import (
    DatabaseError,
    DatabaseForbidden,
    DatabaseLocked,
    DatabaseOutdated,
    DatabaseUnavailable,
    InvalidQuery,
    NeuralSearchError,
    ObjectNotFound,
    Unauthorized,
)
from shared.search.index import active_model
from shared.settings import Secret
from shared.supabase import bounded_transport, credentials
from shared.supabase import database as rpc
from shared.supabase.database import Database, http_client
from shared.testing import RpcTransport

URL = "http://supabase.test"
CALLER = credentials.caller({"Authorization": "Bearer user"}, Secret("sb_publishable_ours"))


def database(transport: RpcTransport) -> Database:
    return Database(URL, CALLER, http_client(transport))


def call(answer: object) -> object:
    return database(RpcTransport(f=answer)).call("f", x=1)


def test_a_call_carries_the_callers_identity_and_nothing_of_their_browser():
    transport = RpcTransport(f=7)
    assert database(transport).call("f", x=1) == 7
    [request] = transport.requests
    assert request.method == "POST"
    assert str(request.url) == f"{URL}/rest/v1/rpc/f"
    assert request.headers.get_list("authorization") == ["Bearer user"]
    assert request.headers.get_list("apikey") == ["sb_publishable_ours"]
    assert request.headers["user-agent"].startswith("python-httpx/")


def test_an_argument_that_is_none_is_left_to_its_default():
    transport = RpcTransport(f=7)
    database(transport).call("f", given=0, left_out=None)
    assert transport.called("f") == [{"given": 0}]


def test_a_caller_without_any_key_is_told_so():
    with pytest.raises(Unauthorized, match="apikey"):
        Database(URL, credentials.caller({}, Secret("")), http_client(RpcTransport()))


LONG = b" " * (bounded_transport.MAX_ANSWER + 1) + b"7"
JSON = {"Content-Type": "application/json"}
LONG_ANSWERS = {
    "as it is": httpx.Response(200, headers=JSON, content=LONG),
    "packed": httpx.Response(
        200, headers=JSON | {"Content-Encoding": "gzip"}, stream=httpx.ByteStream(gzip.compress(LONG, 1))
    ),
    "an error": httpx.Response(500, headers=JSON, content=LONG),
}


@pytest.mark.parametrize("answer", LONG_ANSWERS.values(), ids=LONG_ANSWERS)
def test_no_answer_is_read_without_an_end(answer: httpx.Response):
    with pytest.raises(DatabaseUnavailable, match="bytes"):
        call(answer)


def test_no_answer_may_drip_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bounded_transport, "TOTAL_SECONDS", -1.0)
    with pytest.raises(DatabaseUnavailable, match="seconds"):
        call(7)


def test_a_packed_answer_is_read():
    headers = JSON | {"Content-Encoding": "gzip"}
    assert call(httpx.Response(200, headers=headers, stream=httpx.ByteStream(gzip.compress(b"7")))) == 7


# PostgREST 14, where a connection of its pool turns out broken.
BROKEN = {"code": "", "message": "", "details": None, "hint": None}


def refusal(code: str | None, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "message": "why", "details": None, "hint": None})


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("PGRST301", Unauthorized),
        ("PGRST302", Unauthorized),
        ("PGRST303", Unauthorized),
        ("42501", DatabaseForbidden),
        ("PGRST202", DatabaseOutdated),
        ("42883", DatabaseOutdated),
        ("42P01", DatabaseOutdated),
        ("42703", DatabaseOutdated),
        ("PGRST000", DatabaseUnavailable),
        ("PGRST003", DatabaseUnavailable),
        ("57014", DatabaseUnavailable),
        ("57P01", DatabaseUnavailable),
        ("53300", DatabaseUnavailable),
        ("55P03", DatabaseLocked),
        ("40P01", DatabaseLocked),
        ("40001", DatabaseLocked),
        ("40003", DatabaseUnavailable),
        ("25006", DatabaseUnavailable),
        ("08006", DatabaseUnavailable),
        ("22000", InvalidQuery),
        ("22023", InvalidQuery),
        ("22P02", InvalidQuery),
        ("P0001", InvalidQuery),
        ("PT404", ObjectNotFound),
        ("PGRST203", DatabaseError),
        ("23505", DatabaseError),
        ("XX000", DatabaseError),
    ],
)
def test_a_code_of_the_database_has_its_error(code: str, kind: type[NeuralSearchError]):
    with pytest.raises(NeuralSearchError, match="f: why") as raised:
        call(refusal(code))
    assert type(raised.value) is kind
    assert isinstance(raised.value.__cause__, APIError)


def test_a_value_that_a_function_refuses_comes_with_its_remedy():
    answer = {"code": "22023", "message": "limit is 0.", "details": None, "hint": "Ask for 1 or more."}
    with pytest.raises(InvalidQuery, match=r"^f: limit is 0 \(22023\)\. Ask for 1 or more\."):
        call(httpx.Response(400, json=answer))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(401, json={"message": "Invalid API key", "hint": "check"}), Unauthorized),
        (httpx.Response(403, json={"message": "no"}), DatabaseForbidden),
        (httpx.Response(502, text="<html>Bad Gateway</html>"), DatabaseUnavailable),
        (httpx.Response(503, json={"message": "starting"}), DatabaseUnavailable),
        (httpx.Response(429, json={"message": "slow down"}), DatabaseUnavailable),
        (httpx.Response(500, text="<html>Internal Server Error</html>"), DatabaseUnavailable),
        (httpx.Response(540, json={"message": "Project paused"}), DatabaseUnavailable),
        (httpx.Response(404, text="nothing here"), DatabaseUnavailable),
        (httpx.Response(400, json=BROKEN), DatabaseUnavailable),
        (httpx.Response(400, json=BROKEN | {"message": "Bad request"}), DatabaseError),
        (httpx.Response(413, text="too large"), DatabaseError),
        (httpx.Response(200, text="<html>a captive portal</html>"), DatabaseUnavailable),
        (httpx.Response(200, text="[{", headers={"content-type": "application/json"}), DatabaseUnavailable),
        (httpx.Response(200, text="[" * 100_000, headers=JSON), DatabaseUnavailable),
        (httpx.Response(302, headers={"location": "/login"}), DatabaseUnavailable),
        (httpx.ConnectError("refused"), DatabaseUnavailable),
        (httpx.ReadTimeout("slow"), DatabaseUnavailable),
    ],
)
def test_an_answer_that_is_not_postgrests_has_its_error(
    answer: httpx.Response | Exception, kind: type[NeuralSearchError]
):
    with pytest.raises(NeuralSearchError) as raised:
        call(answer)
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    "code", ["http://10.0.0.5:3000/rpc/ " + "x" * 300, "/secret", "22023 secret", "22p02"]
)
def test_a_gateways_own_code_is_not_told(code: object):
    with pytest.raises(DatabaseUnavailable, match="why") as raised:
        call(httpx.Response(502, json={"code": code, "message": "why", "hint": "h", "details": None}))
    assert raised.value.detail.endswith("Code: 502.")


@pytest.mark.parametrize("rows", [None, 5, {}, {"name": "colours"}, [[1]], ["colours"], [{"other": 1}]])
def test_rows_that_are_none_name_the_setting(rows: object):
    with pytest.raises(DatabaseUnavailable, match="Check SUPABASE_URL"):
        active_model(database(RpcTransport(active_model=rows)))


def test_a_refused_key_or_token_says_what_to_send():
    with pytest.raises(Unauthorized, match="Send a valid key or token"):
        call(httpx.Response(401, json={"message": "Invalid API key"}))


def test_what_is_unavailable_says_when_to_come_back():
    with pytest.raises(DatabaseUnavailable) as raised:
        call(refusal("57014", 500))
    assert raised.value.retry_after == 10


@pytest.mark.parametrize(("told", "seconds"), [("42", 42), ("0", 10), ("soon", 10), ("99999", 3600)])
def test_the_gateways_own_retry_after_is_kept_where_it_names_a_time(told: str, seconds: int):
    with pytest.raises(DatabaseUnavailable) as raised:
        call(httpx.Response(429, json={"message": "slow down"}, headers={"Retry-After": told}))
    assert raised.value.retry_after == seconds


def test_a_code_that_the_message_ends_with_is_told_once():
    told = {
        "code": "57014",
        "message": "The database broke off the search (SQLSTATE 57014).",
        "hint": "Again.",
    }
    with pytest.raises(DatabaseUnavailable) as raised:
        call(httpx.Response(500, json=told | {"details": None}))
    assert str(raised.value).endswith("broke off the search (SQLSTATE 57014). Again.")


FOREIGN = [
    error
    for module in (httpx, inspect.getmodule(APIError))
    for _, error in inspect.getmembers(module, inspect.isclass)
    if issubclass(error, Exception)
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda error: error.__name__)
def test_no_error_of_the_client_libraries_is_left_unmapped(foreign: type[Exception]):
    error = foreign.__new__(foreign)
    error.__dict__.update(message="why", code="XX000", hint=None, details=None, args=("why",))
    assert isinstance(rpc.translate(error, "f"), NeuralSearchError)


def test_a_value_that_json_cannot_carry_is_our_error_too():
    with pytest.raises(DatabaseError, match="f: "):
        database(RpcTransport(f=7)).call("f", x=object())


def test_a_header_that_httpx_refuses_is_not_repeated():
    key = Secret("hidden\nkey")
    with socket.create_server(("127.0.0.1", 0)) as server, http_client() as http:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        caller = Database(address, credentials.Identity(apikey=key, authorization=key), http)
        with pytest.raises(DatabaseUnavailable, match=r"API: LocalProtocolError$") as told:
            caller.call("f")
    assert "hidden" not in str(told.value)


STRANGER = credentials.caller({}, Secret("sb_publishable_ours"))
MISDATED = httpx.Response(401, json={"code": "PGRST303", "message": "JWT issued at future"})


def answering(*answers: object) -> RpcTransport:
    coming = iter(answers)
    return RpcTransport(f=lambda _: next(coming))


def test_a_key_that_the_platform_dated_in_the_future_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rpc, "CLOCK_SECONDS", 0.0)
    transport = answering(MISDATED, 7)
    assert Database(URL, STRANGER, http_client(transport)).call("f") == 7


def test_one_that_stays_so_is_no_fault_of_the_caller(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rpc, "CLOCK_SECONDS", 0.0)
    transport = answering(MISDATED, MISDATED)
    with pytest.raises(DatabaseUnavailable, match="come back") as raised:
        Database(URL, STRANGER, http_client(transport)).call("f")
    assert raised.value.retry_after and len(transport.calls) == 2


@pytest.mark.parametrize("caller", [CALLER, credentials.caller({}, Secret("a.legacy.token"))])
def test_a_users_own_token_is_refused_at_once(caller: credentials.Identity):
    transport = answering(MISDATED)
    with pytest.raises(Unauthorized):
        Database(URL, caller, http_client(transport)).call("f")


def test_another_refusal_of_a_key_is_final():
    transport = answering(refusal("PGRST301", 401))
    with pytest.raises(Unauthorized):
        Database(URL, STRANGER, http_client(transport)).call("f")


def test_a_token_whose_role_the_database_doesnt_have_is_unauthorized():
    told = {"code": "22023", "message": 'role "nobody" does not exist', "details": None, "hint": None}
    with pytest.raises(Unauthorized, match='role "nobody" does not exist'):
        active_model(database(RpcTransport(active_model=httpx.Response(400, json=told))))
