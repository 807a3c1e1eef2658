"""A gateway that tells a request's headers back, as debug pages do: no command repeats our secrets."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.command_line import write_picture
from support.http_servers import threaded
from typer.testing import CliRunner

from cli.__main__ import app
from shared import settings

WEBHOOK_SECRET = f'it\'s-"a"-{secrets.token_urlsafe()}'  # as Python and JSON write it in other ways
KEYS = {
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_ours",
    "SUPABASE_SECRET_KEY": f"of-another-kind-{secrets.token_urlsafe()}",
    "EMBED_WEBHOOK_SECRET": WEBHOOK_SECRET,
}
COMMANDS = (
    "jobs",
    "buckets list",
    "models list",
    "backfill --dry-run",
    "duplicates",
    "worker --once",
    "delete a.jpg --bucket images --yes",
    "upload {picture} --bucket images",
    "--traceback jobs",
    "doctor",
    "doctor --json",
)


class Gateway(BaseHTTPRequestHandler):
    """Answers everything with the server's `status` and the headers that it was asked with."""

    server: Echo

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        told = f"upstream failed: {dict(self.headers)} {json.dumps(dict(self.headers))}"
        body = json.dumps({"message": told, "code": "XX000", "error": told, "statusCode": "500"}).encode()
        self.server.told += told
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = answer

    def log_message(self, *_: object) -> None:
        pass


class Echo(ThreadingHTTPServer):
    status = 500
    told = ""


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Echo]:
    for names in settings.ENVIRONMENT.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    server = Echo(("127.0.0.1", 0), Gateway)
    with threaded(server) as url:
        places = {"SUPABASE_URL": url, "QUERY_URL": f"{url}/query", "EMBED_URL": f"{url}/embed"}
        for name, value in {**KEYS, **places, "LOCAL_DATA": str(tmp_path / "none")}.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.mark.parametrize("status", [401, 403, 413, 500])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_repeats_our_secrets(command: str, status: int, gateway: Echo, tmp_path: Path):
    gateway.status = status
    picture = write_picture(tmp_path / "a.jpg", 0)
    result = CliRunner().invoke(app, command.format(picture=picture).split())
    assert gateway.told
    for secret in (KEYS["SUPABASE_SECRET_KEY"], WEBHOOK_SECRET, WEBHOOK_SECRET.rpartition('"')[2]):
        assert secret not in result.output
