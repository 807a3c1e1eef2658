"""Whose web pages the gateway answers: this machine's, and no other's."""

from __future__ import annotations

import httpx
import pytest
from support.gateways import Gateway

from local.gateway import local_origins

HOSTS = (
    "127.0.0.1:54321",
    "127.1.2.3",
    "[::1]:54321",
    "localhost",
    "LOCALHOST:8000",
    "localhost.",
    "app.localhost:3000",
)
FOREIGN = (
    "evil.example:54321",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evillocalhost",
    "127.0.0.1@evil.example",
    "192.168.0.7",
    "0.0.0.0:54321",
    "[fe80::1]",
    "[",
    "",
)
CONTAINERS = ("host.docker.internal:54321", "host.containers.internal")
ASKED = "/functions/v1/echo/origins"


def message(answer: httpx.Response) -> str:
    assert answer.status_code == 403, answer.text
    assert "access-control-allow-origin" not in answer.headers
    return str(answer.json()["message"])


@pytest.mark.parametrize(
    "origin", [*(f"http://{host}" for host in HOSTS), "https://localhost", "tauri://localhost"]
)
def test_pages_of_this_machine_are_answered(gateway: Gateway, origin: str) -> None:
    assert httpx.get(gateway.url + ASKED, headers={"origin": origin}).status_code == 200


@pytest.mark.parametrize("host", [*HOSTS, *CONTAINERS])
def test_names_of_this_machine_are_answered(gateway: Gateway, host: str) -> None:
    assert httpx.get(gateway.url + ASKED, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["null", "evil.example", *(f"http://{host}" for host in (*FOREIGN, *CONTAINERS))]
)
def test_pages_of_elsewhere_are_refused_before_anything_is_done(gateway: Gateway, origin: str) -> None:
    before = len(gateway.echo.received)
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        headers = {"origin": origin, "access-control-request-method": "POST"}
        assert "http://localhost" in message(httpx.request(method, gateway.url + ASKED, headers=headers))
    assert len(gateway.echo.received) == before


@pytest.mark.parametrize("host", FOREIGN)
def test_names_that_only_lead_here_are_refused(gateway: Gateway, host: str) -> None:
    """As after DNS rebinding, where the page's own origin is this machine's for the browser."""
    before = len(gateway.echo.received)
    headers = [("host", host), ("origin", "http://127.0.0.1")]
    assert "127.0.0.1" in message(httpx.get(gateway.url + ASKED, headers=headers))
    assert "127.0.0.1" in message(httpx.get(gateway.url + ASKED, headers=headers[:1]))
    assert len(gateway.echo.received) == before


@pytest.mark.parametrize(
    "path", ["/", "/health", "/rest/v1/documents", "/auth/v1/token", "/storage/v1/bucket", "/none"]
)
def test_every_path_is_covered(gateway: Gateway, path: str) -> None:
    message(httpx.get(gateway.url + path, headers={"origin": "https://evil.example"}))


def test_a_second_origin_is_looked_at_too(gateway: Gateway) -> None:
    headers = [("origin", "http://localhost"), ("origin", "https://evil.example")]
    message(httpx.get(gateway.url + ASKED, headers=headers))


def test_the_log_tells_a_refused_page_once(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(local_origins.log, "handle", lambda record: lines.append(record.getMessage()))
    for _ in range(3):
        httpx.get(gateway.url, headers={"origin": "https://once.example"})
    (line,) = lines
    assert "once.example" in line and "http://localhost" in line
