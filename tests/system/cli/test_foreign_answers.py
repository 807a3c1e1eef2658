"""A proxy or a captive portal that answers everything with JSON of its own, as a success."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from support.databases import Connection
from support.http_servers import free_port, threaded

from cli.client import rpc_answers

KEYS = {"SUPABASE_PUBLISHABLE_KEY": "sb_publishable_ours", "SUPABASE_SECRET_KEY": "sb_secret_ours"}
BODIES: tuple[Any, ...] = ([], {}, ["x"], [{}], {"backlog": "x"}, "x", 7)
COMMANDS = (
    "jobs",
    "buckets list",
    "buckets index images",
    "duplicates",
    "backfill",
    "models list --no-speed",
)


class Portal(BaseHTTPRequestHandler):
    """Answers 200 and its server's `body`."""

    server: Server

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_POST = do_DELETE = do_PUT = answer

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    body = b""


@pytest.fixture(scope="module")
def portal() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Portal)
    with threaded(server):
        yield server


@pytest.fixture
def command(portal: Server, tmp_path: Path) -> CommandLine:
    url = f"http://127.0.0.1:{portal.server_port}"
    return CommandLine(tmp_path / "data", free_port(), {"SUPABASE_URL": url, **KEYS})


@pytest.mark.parametrize("body", BODIES, ids=json.dumps)
def test_doctor_makes_all_checks(portal: Server, command: CommandLine, body: Any):
    portal.body = json.dumps(body).encode()
    findings = {row["check"]: row for row in command.json("doctor", status=1)}
    assert {"secret key", "queue", "row limit", "Storage", "models", "query /health"} <= findings.keys()
    assert findings["secret key"]["state"] == "WRONG"


def test_a_check_that_ends_with_any_error_is_wrong(
    portal: Server, command: CommandLine, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> str:
        raise ZeroDivisionError("by zero")

    portal.body = b"[]"
    monkeypatch.setattr("cli.checks.api.row_limit", broken)
    findings = {row["check"]: row for row in command.json("doctor", status=1)}
    assert findings["row limit"]["state"] == "WRONG"
    assert findings["row limit"]["detail"].startswith("ended with ZeroDivisionError: by zero.")
    assert "query /health" in findings


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("body", [["x"], [{}], {"backlog": [{}]}, "x"], ids=json.dumps)
def test_commands_say_to_check_the_address(portal: Server, command: CommandLine, line: str, body: Any):
    portal.body = json.dumps(body).encode()
    assert "SUPABASE_URL" in command.error(*line.split())


def test_each_functions_form_is_told(db: Connection):
    forms = {
        rpc_answers.ROWS: "p.proretset",
        rpc_answers.OBJECTS: "not p.proretset and p.prorettype = 'jsonb'::regtype",
        rpc_answers.NUMBERS: "not p.proretset and p.prorettype in ('int4'::regtype, 'int8'::regtype)",
        rpc_answers.TEXTS: "not p.proretset and p.prorettype = 'text'::regtype",
    }
    for functions, form in forms.items():
        query = f"select p.proname from pg_proc as p where p.pronamespace = 'public'::regnamespace and {form}"
        assert functions <= {name for (name,) in db.execute(query)}
