"""The gateway, served over HTTP, with a database of its own that holds only what the platform provides."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from databases import Clone, Connection, clone
from echo import Echo
from supabase import Client, create_client
from supabase.lib.client_options import SyncClientOptions

from local import keys
from local.gateway import create_app
from local.keys import Keys
from local.postgres import Cluster

BUCKETS = count(1)


@dataclass(frozen=True)
class Gateway:
    """A gateway that is being served."""

    url: str
    keys: Keys
    database: Clone
    files: Path
    echo: Echo = field(repr=False)
    clients: ExitStack = field(repr=False)

    def supabase(self, key: str | None = None, **headers: str) -> Client:
        """An unmodified supabase-py client; with the secret key by default."""
        # Without a client of our own supabase-py warns of options that it sets itself.
        http = self.clients.enter_context(httpx.Client(timeout=30))
        options = SyncClientOptions(httpx_client=http, headers=headers)
        return create_client(self.url, key or self.keys.secret, options)

    def http(self, key: str | None = None, **headers: str) -> httpx.Client:
        """A bare HTTP client that sends `key` as apikey; with the secret key by default."""
        return httpx.Client(
            base_url=self.url, headers={"apikey": key or self.keys.secret, **headers}, timeout=30
        )

    def stored(self) -> list[Path]:
        """The files that hold objects' bytes."""
        return sorted(path for path in self.files.rglob("*") if path.is_file())


@contextmanager
def serve(database: Clone, folder: Path, functions: dict[str, str], echo: Echo) -> Iterator[Gateway]:
    made = keys.load(folder)
    app = create_app(database.url, folder / "objects", made, functions)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2, ws="none")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            assert server.started
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with ExitStack() as clients:
                yield Gateway(url, made, database, folder / "objects", echo, clients)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    cluster: Cluster, bare_template: str, tmp_path_factory: pytest.TempPathFactory, echo: Echo
) -> Iterator[Gateway]:
    """One per module: tests keep apart by buckets and tables of their own."""
    functions = {"echo": echo.url, "down": _closed_url()}
    with (
        clone(cluster, bare_template) as database,
        serve(database, tmp_path_factory.mktemp("gateway"), functions, echo) as served,
    ):
        yield served


@pytest.fixture
def db(gateway: Gateway) -> Iterator[Connection]:
    """Connected as the project's owner `postgres`."""
    with gateway.database.connect() as connection:
        yield connection


@pytest.fixture
def bucket(gateway: Gateway) -> str:
    """A fresh private bucket without any policy."""
    name = f"bucket-{next(BUCKETS)}"
    gateway.supabase().storage.create_bucket(name)
    return name


@pytest.fixture
def allow(db: Connection) -> Callable[..., None]:
    """Let a role do something in a bucket."""
    names = count(1)

    def allow(bucket: str, role: str, command: str, condition: str = "true") -> None:
        clauses = {"insert": "with check", "select": "using", "delete": "using", "update": "using"}
        db.execute(
            f'create policy "{bucket} {role} {command} {next(names)}" on storage.objects '
            f"for {command} to {role} {clauses[command]} (bucket_id = '{bucket}' and ({condition}))"
        )

    return allow


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Wait until something is true, and return it."""

    def wait(look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20
        while not (found := look()):
            assert time.monotonic() < deadline, "it didn't happen"
            time.sleep(0.02)
        return found

    return wait


def _closed_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
