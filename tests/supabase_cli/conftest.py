"""The Supabase CLI, and a way for it to reach the tests' PostgreSQL, which listens on a unix socket alone."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import npm
import pytest
from databases import Clone
from repository import Repository

from local.postgres import SOCKET, Cluster

HERE = Path(__file__).parent


class Bridge(socketserver.BaseRequestHandler):
    """One connection by TCP, passed on to a unix socket."""

    server: BridgeServer

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as database:
            database.connect(self.server.target)
            answers = threading.Thread(target=pump, args=(database, self.request))
            answers.start()
            pump(self.request, database)
            answers.join()


class BridgeServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, target: str):
        self.target = target
        super().__init__(("127.0.0.1", 0), Bridge)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def port(cluster: Cluster) -> Iterator[int]:
    ((folder,),) = parse_qs(urlsplit(cluster.url("postgres")).query).values()
    with BridgeServer(f"{folder}/{SOCKET}") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def program() -> Path:
    return npm.install(HERE) / ".bin" / "supabase"


@pytest.fixture
def repository(bare_database: Clone, port: int, program: Path, tmp_path: Path) -> Repository:
    """A user's, with one migration that is pushed already."""
    url = f"postgresql://postgres:unused@127.0.0.1:{port}/{bare_database.name}"
    made = Repository(tmp_path, program, url)
    made.migrations.mkdir(parents=True)
    (tmp_path / "supabase" / "config.toml").write_text('project_id = "mine"\n')
    made.write("20260201000000_first", "create table public.their_first (id integer);")
    assert made.push() == ["20260201000000_first"]
    return made
