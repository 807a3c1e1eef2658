"""Clients who have hung up, directly or behind the embedded gateway: nothing more is begun for them."""

from __future__ import annotations

import json
import operator
import select
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
from served import Served
from starlette.applications import Starlette
from support import http_servers
from support.http_servers import free_port
from support.waiting import PATIENCE, eventually

from functions.query import main as query
from local.gateway import functions
from shared.http import handlers
from shared.search import previews
from shared.search.query_vectors import TEXTS
from shared.testing import picture


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Requests of one kind, and the step whose places they share."""

    path: str
    body: bytes = b""
    step: str  # as the project is asked for it
    times: int = 1  # that each request asks
    running: int
    waiting: int

    def bytes(self, url: str) -> bytes:
        head = f"{'POST' if self.body else 'GET'} {httpx.URL(url).path.rstrip('/')}{self.path} HTTP/1.1\r\n"
        content = f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n" * bool(self.body)
        return f"{head}Host: localhost\r\n{content}\r\n".encode() + self.body


KINDS = {
    "searches by an id": Kind(
        path="/query",
        body=json.dumps({"like": 5}).encode(),
        step="recommend_documents",
        running=handlers.CALLERS_AT_WORK,
        waiting=handlers.CALLERS - handlers.CALLERS_AT_WORK,
    ),
    "searches by texts": Kind(
        path="/query",
        body=json.dumps({"text": [f"red {number}" for number in range(4 * TEXTS)]}).encode(),
        step="embed_texts",
        times=4,
        running=query.RUNNING,
        waiting=query.WAITING,
    ),
    "previews": Kind(
        path="/preview?bucket=images&name=a.png&token=t",
        step="a.png?token=t",
        running=previews.RUNNING,
        waiting=previews.AT_ONCE - previews.RUNNING,
    ),
}


class Project(ThreadingHTTPServer):
    """Database, Storage and model, which answer when they are told to, with a record of all that is asked."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.told = threading.Event()

    def answer(self, asked: str) -> tuple[str, bytes]:
        self.asked.append(asked)
        if asked == "active_model":
            return "application/json", b'[{"name": "colours", "dimensions": 4}]'
        self.told.wait()
        return ("image/png", picture()) if "a.png" in asked else ("application/json", b"[]")


class Handler(BaseHTTPRequestHandler):
    server: Project

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind, body = self.server.answer(self.path.rpartition("/")[2])
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def project() -> Iterator[Project]:
    server = Project()
    with http_servers.threaded(server):
        yield server
        server.told.set()


@pytest.fixture
def before(project: Project) -> Iterator[Served]:
    """The function before this project."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = str(Path(__file__).with_name("query_process.py"))
    command = [sys.executable, program, str(port), f"http://127.0.0.1:{project.server_port}"]
    environment = {"PATH": "/usr/bin:/bin", "THREADS": "8"}
    with http_servers.process(command, environment, f"{url}/live") as running:
        [worker] = psutil.Process(running.pid).children()
        yield Served(url, port, worker)


@pytest.fixture(params=["directly", "through the gateway"])
def url(request: pytest.FixtureRequest, before: Served) -> Iterator[str]:
    if request.param == "directly":
        yield before.url
        return
    routes = functions.routes("/functions/v1", {"query": before.url}, functions.make_transport())
    with http_servers.asgi(Starlette(routes=routes)) as gateway:
        yield f"{gateway}/functions/v1/query"


def ask(url: str, kind: Kind) -> socket.socket:
    client = socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 0), timeout=PATIENCE)
    client.sendall(kind.bytes(url))
    return client


def clients(before: Served) -> list[str]:
    """The states of their connections to the function."""
    connections = before.worker.net_connections("tcp")
    return [one.status for one in connections if one.laddr.port == before.port and one.raddr]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_they_hold_no_places_and_nothing_is_begun_for_them(
    project: Project, before: Served, url: str, kind: Kind
):
    gone = []
    for number in range(kind.running + kind.waiting + 1):
        gone.append(ask(url, kind))
        eventually(
            partial(project.asked.count, kind.step),
            wanted=partial(operator.eq, min(number + 1, kind.running)),
        )
    [refused], _, _ = select.select(gone, [], [], PATIENCE)
    assert refused.recv(100).startswith(b"HTTP/1.1 503 ")  # so the others have all places
    for client in gone:
        client.close()
    eventually(lambda: psutil.CONN_ESTABLISHED not in clients(before))
    with ask(url, kind) as another:
        assert httpx.get(f"{before.url}/live", timeout=PATIENCE).status_code == 200  # so it has its thread
        project.told.set()
        assert another.recv(100).startswith(b"HTTP/1.1 200 ")
    assert project.asked.count(kind.step) == kind.running + kind.times
