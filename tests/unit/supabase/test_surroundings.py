"""Proxies: the environment's, and none for this machine's own addresses."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from support.echo_server import Echo
from support.http_servers import free_port

from cli.client.function_health import models_of
from cli.client.project import Project
from cli.commands import stack
from cli.commands.query import search
from shared import settings
from shared.errors import NeuralSearchError, SettingsError
from shared.settings import CHECKOUT
from shared.supabase import surroundings

PROXY = "http://proxy.invalid:3128"
OWN = ("127.0.0.1", "127.9.8.7", "[::1]", "localhost", "LOCALHOST", "project.localhost")


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", PROXY)


@pytest.mark.parametrize("host", OWN)
def test_no_proxy_is_between_us_and_this_machine(host: str) -> None:
    with surroundings.session(f"http://{host}:54321") as session:
        assert not session.proxies and not session.trust_env


@pytest.mark.parametrize("host", ["project.example", "192.168.0.1", "localhost.example", "127.0.0.1.example"])
def test_others_are_called_through_the_environments_proxy(host: str) -> None:
    assert surroundings.read(f"http://{host}").proxies["http"] == PROXY


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:s3cret/proxy@127.0.0.1:1",
        "http://us er:s3cret@127.0.0.1:1",
        "http://user:s3cret@proxy@127.0.0.1:1",
        "http://user:3128#s3cret@127.0.0.1",
        "http://user:3128?s3cret@127.0.0.1",
        "http://user:s3cret@127.0.0.1:99999",
        "user:s3cret/proxy@127.0.0.1:1",
        "socks5://user:s3cret@127.0.0.1:1",
        "http://user:s3cret@[::1",
        "http://user:s3cret@",
    ],
)
def test_a_proxy_that_is_none_is_named_with_the_remedy_and_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    keys = {"SUPABASE_SECRET_KEY": "sb_secret_x", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}
    target = settings.load({"SUPABASE_URL": "http://project.example"} | keys)
    with Project(target) as project:
        for ask in (
            lambda: project.call("active_model"),
            lambda: project.require_bucket("images"),
            lambda: search(target, {"text": "a castle"}),
            lambda: models_of(target.query_url, apikey="sb_secret_x"),
        ):
            with pytest.raises(
                SettingsError, match=r"HTTP_PROXY.* in a name or password write %2F for /"
            ) as told:
                ask()
            assert not {"s3cret", "3128", proxy} & set(re.split(r"[^\w]", str(told.value)))


@pytest.mark.parametrize(
    "proxy",
    ["http://a:b%2Fc@proxy:3128", "HTTPS://proxy.example", "proxy:3128/", "http://[::1]:1", r"D\u:p@h:1"],
)
def test_a_proxy_s_address_may_have_these_forms(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    assert surroundings.read("http://project.example").proxies["http"] == proxy
    assert "://" in str(surroundings.proxy("http://project.example"))


def test_no_key_of_the_embedded_stack_reaches_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    keys = {"SUPABASE_SECRET_KEY": "sb_secret_x", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}
    target = settings.load({"SUPABASE_URL": url} | keys)
    with Echo() as echo, Project(target) as project:
        monkeypatch.setenv("http_proxy", echo.url)
        for ask in (
            lambda: project.call("active_model"),
            lambda: project.require_bucket("images"),
            lambda: search(target, {"text": "a castle"}),
            lambda: models_of(target.query_url, apikey="sb_secret_x"),
            lambda: stack._answers(url),
        ):
            with suppress(NeuralSearchError):
                ask()
    assert not echo.received


@pytest.mark.parametrize("host", ["localhost", "project.example"])
def test_the_environments_certificates_count_for_every_host(
    host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = {"SUPABASE_SECRET_KEY": "sb_secret_x", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    target = settings.load({"SUPABASE_URL": f"https://{host}"} | keys)
    with Project(target) as project, pytest.raises(FileNotFoundError):
        _ = project.storage


def test_only_the_surroundings_make_sessions_for_commands_and_functions() -> None:
    own = ("requests.Session()", "requests.get(", "requests.post(", "requests.request(")
    files = [path for room in ("cli", "shared", "functions") for path in (CHECKOUT / room).rglob("*.py")]
    found = {path.name for path in files if any(one in path.read_text() for one in own)}
    assert found == {"surroundings.py"}
