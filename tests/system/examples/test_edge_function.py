"""The Edge Function in a real Deno, as the platform runs it: before a server that echoes its requests,
before none, and before the embedded stack."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from supabase import create_client
from supabase.lib.client_options import SyncClientOptions
from support import npm_packages
from support.echo_server import Echo
from support.http_servers import free_port

from local.stack import Stack
from shared.settings import CHECKOUT, bare_environment

INDEX = CHECKOUT / "examples" / "edge-function" / "query" / "index.ts"
DENOS_OWN = {"host", "content-length", "transfer-encoding"}
DENOS_OWN |= {"accept", "accept-encoding", "accept-language"}
Serve = Callable[[str | None], str]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The function's own address, where it is told this QUERY_URL."""
    deno = npm_packages.install(Path(__file__).parent) / ".bin" / "deno"
    cache = tmp_path_factory.mktemp("deno")
    with ExitStack() as running:
        yield lambda query_url: running.enter_context(served(deno, cache, query_url))


@contextmanager
def served(deno: Path, cache: Path, query_url: str | None) -> Iterator[str]:
    own = {"DENO_SERVE_ADDRESS": "tcp:127.0.0.1:0", "DENO_NO_UPDATE_CHECK": "1", "DENO_DIR": str(cache)}
    command = [deno, "run", "--check", "--no-config", "--allow-env=QUERY_URL"]
    process = subprocess.Popen(
        [*command, "--allow-net=127.0.0.1", INDEX],
        env=bare_environment(own | ({"QUERY_URL": query_url} if query_url else {})),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # npm's `deno` is a script that starts the real one
    )
    with process:
        try:
            yield listening(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def listening(process: subprocess.Popen[str]) -> str:
    said = ""
    for line in process.stderr or ():
        said += line
        if "Listening on " in line:
            return line.split("Listening on ")[1].strip().rstrip("/")
    raise AssertionError(f"Deno ended:\n{said}")


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


@pytest.fixture(scope="module")
def function(serve: Serve, echo: Echo) -> str:
    return serve(f"{echo.url}/base/")


@pytest.fixture(scope="module")
def down(serve: Serve) -> str:
    """The function, where nobody listens at QUERY_URL."""
    return serve(f"http://127.0.0.1:{free_port()}")


def test_what_query_knows_a_caller_by_goes_on_and_no_other_header(function: str, echo: Echo):
    passed_on = {"authorization": "Bearer token", "apikey": "key", "content-type": "image/png"}
    passed_on["user-agent"] = "Mozilla/5.0"
    others = {"cookie": "a=b", "x-webhook-secret": "s", "x-forwarded-for": "::1"}
    httpx.post(f"{function}/query/headers", content=b"image", headers=passed_on | others)
    [received] = echo.to("/base/headers")
    headers = {name.lower(): value for name, value in received.headers}
    assert {name: headers[name] for name in headers.keys() - DENOS_OWN} == passed_on


def test_a_body_is_streamed_to_the_query_function(function: str, echo: Echo):
    chunks = [bytes([number]) * 100_000 for number in range(5)]
    httpx.post(f"{function}/query/stream", content=iter(chunks))
    [received] = echo.to("/base/stream")
    assert (received.header("transfer-encoding"), received.body) == ("chunked", b"".join(chunks))


@pytest.mark.parametrize(
    ("asked", "reached"),
    [
        ("/query", "/base"),
        ("/query/", "/base/"),
        ("/query?limit=3&text=a%20b%26c", "/base?limit=3&text=a%20b%26c"),
        ("/query/embeddings?wait=1", "/base/embeddings?wait=1"),
        ("/functions/v1/query/live", "/base/live"),
        ("//evil.example/", "/base//evil.example/"),
        ("/query//evil.example/", "/base//evil.example/"),
        ("/query/@evil.example", "/base/@evil.example"),
        ("/query/http://evil.example", "/base/http://evil.example"),
        ("/query/../../metrics", "/base"),
        ("/query/%2e%2e/%2E%2E/metrics", "/base"),
    ],
)
def test_whatever_the_path_the_request_goes_to_query_url(function: str, echo: Echo, asked: str, reached: str):
    host, port = function.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:  # a client would tidy the path up
        connection.sendall(f"GET {asked} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200") and echo.received[-1].path == reached


def test_a_caller_who_hangs_up_leaves_the_query_function_too(serve: Serve):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        function = serve(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{function}/query", json={"text": "red"}, timeout=0.3)
        backend, _ = silent.accept()
        with backend:
            backend.settimeout(30)
            while backend.recv(65536):  # until it is closed
                pass


def test_a_redirection_is_handed_back_and_not_followed(serve: Serve, echo: Echo):
    assert httpx.get(f"{serve(echo.url)}/query/status/307").status_code == 307
    assert echo.to("/elsewhere") == []


def test_status_type_and_body_of_an_answer_come_back_readable_for_any_page(function: str):
    answer = httpx.post(f"{function}/query/gzip", json={})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["path"] == "/base/gzip"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_preflight_is_answered_even_while_the_query_function_is_down(down: str):
    answer = httpx.options(f"{down}/query", headers={"Origin": "https://app.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "apikey", "content-type", "x-client-info"} <= set(allowed)
    traced = httpx.options(f"{down}/query", headers={"Access-Control-Request-Headers": "apikey,traceparent"})
    assert traced.headers["access-control-allow-headers"] == "apikey,traceparent"


def test_a_query_function_that_is_down_is_a_problem_that_says_what_to_check(down: str):
    answer = httpx.post(f"{down}/query", json={"text": "a cat"})
    assert (answer.status_code, answer.headers["content-type"]) == (502, "application/problem+json")
    assert answer.json()["type"] == "query-unreachable" and "QUERY_URL" in answer.json()["detail"]
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_missing_query_url_is_a_problem_that_says_how_to_set_it(serve: Serve):
    answer = httpx.post(f"{serve(None)}/query", json={"text": "a cat"})
    assert (answer.status_code, answer.json()["type"]) == (500, "settings-error")
    assert "supabase secrets set QUERY_URL" in answer.json()["detail"]


def test_functions_invoke_searches_through_it(serve: Serve, embedded_stack: Stack):
    mine = embedded_stack.settings
    with httpx.Client(timeout=60) as http:
        client = create_client(
            serve(mine.query_url), mine.publishable_key, SyncClientOptions(httpx_client=http)
        )
        answer = json.loads(client.functions.invoke("query", {"body": {"text": "a cat"}}))
    assert answer["model"] == "efficientnet-lite0-concepts" and "results" in answer
