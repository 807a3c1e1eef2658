"""/functions/v1: the way through the gateway to a function and back."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from support.echo_server import Echo
from support.gateways import Gateway


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{gateway.url}/functions/v1") as client:
        yield client


def test_the_prefix_is_stripped_and_the_rest_is_kept_as_it_was_sent(http: httpx.Client) -> None:
    assert http.get("/echo").json()["path"] == "/"
    assert http.get("/echo/").json()["path"] == "/"
    told = http.get("/echo/a/b%2Fc%20d?q=1&q=2&name=%C3%A9").json()
    assert told["path"] == "/a/b%2Fc%20d?q=1&q=2&name=%C3%A9"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_method_and_body_arrive(http: httpx.Client, method: str) -> None:
    told = http.request(method, "/echo/x", content=b"body").json()
    assert (told["method"], told["body"]) == (method, "body")


def test_no_connection_is_used_twice_since_the_function_may_be_closing_it(
    http: httpx.Client, echo: Echo
) -> None:
    for _ in range(3):
        http.get("/echo/again")
    assert len({one.port for one in echo.to("/again")}) == 3


def test_a_body_of_unknown_length_is_streamed(http: httpx.Client) -> None:
    told = http.post("/echo/x", content=iter([b"one ", b"two"])).json()
    assert told["body"] == "one two"


def test_only_forwarding_headers_are_added_and_hop_by_hop_headers_dropped(gateway: Gateway) -> None:
    http = httpx.Client(base_url=f"{gateway.url}/functions/v1")
    for name in list(http.headers):
        del http.headers[name]
    sent = {"authorization": "Bearer user", "apikey": "key", "te": "trailers", "x-mine": "1"}
    with http:
        told = http.get("/echo/x", headers=sent).json()["headers"]
    forwarded = {name: told.pop(name) for name in list(told) if name.startswith("x-forwarded-")}
    told.pop("host")
    assert told == {"authorization": "Bearer user", "apikey": "key", "x-mine": "1"}
    assert forwarded == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": gateway.url.removeprefix("http://"),
        "x-forwarded-proto": "http",
        "x-forwarded-prefix": "/functions/v1/echo",
    }


def test_statuses_encodings_and_head_come_back_unchanged(http: httpx.Client) -> None:
    assert http.get("/echo/status/503").status_code == 503
    answer = http.get("/echo/gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["path"] == "/gzip"
    assert len(answer.headers.get_list("date")) == 1
    head = http.head("/echo/x")
    assert (head.status_code, head.content) == (200, b"")


def test_one_users_cookies_never_reach_another(http: httpx.Client, gateway: Gateway) -> None:
    assert http.get("/echo/cookies").headers["set-cookie"] == "session=1"
    with httpx.Client(base_url=f"{gateway.url}/functions/v1") as another:
        assert "cookie" not in another.get("/echo/x").json()["headers"]


def test_invoke_of_supabase_py_reaches_the_function(gateway: Gateway) -> None:
    told = gateway.supabase().functions.invoke("echo", {"body": {"a": 1}, "responseType": "json"})
    assert told["headers"]["authorization"] == f"Bearer {gateway.keys.secret}"
    assert told["body"].replace(" ", "") == '{"a":1}'


def test_an_unknown_function_is_a_404_that_names_the_known(http: httpx.Client) -> None:
    answer = http.post("/absent", json={})
    assert answer.status_code == 404
    assert answer.json()["message"] == "There is no function 'absent'. Running: down, echo."


def test_a_function_that_is_down_is_a_503(http: httpx.Client) -> None:
    answer = http.post("/down", json={})
    assert answer.status_code == 503
    assert answer.json()["message"] == "The function down isn't running. Its log says why."


def test_an_answer_that_breaks_off_is_not_passed_as_whole(http: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        http.get("/echo/cut")


def test_health_says_whether_the_database_is_there(gateway: Gateway) -> None:
    for path in ("/", "/health"):
        told = httpx.get(gateway.url + path).json()
        assert told == {"status": "ok", "database": True, "functions": ["echo", "down"]}
