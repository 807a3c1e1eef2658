"""A gateway over HTTP, for the tests that speak its dialects."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from supabase import Client, create_client
from supabase.lib.client_options import SyncClientOptions

from local import keys
from local.gateway import create_app
from local.keys import Keys
from support import http_servers
from support.databases import Clone
from support.echo_server import Echo

NO_TLS = False  # all of it is plain HTTP, and reading the certificates takes 40 ms for each client


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
        http = self.clients.enter_context(httpx.Client(timeout=30, verify=NO_TLS))
        options = SyncClientOptions(httpx_client=http, headers=headers)
        return create_client(self.url, key or self.keys.secret, options)

    def http(self, key: str | None = None, **headers: str) -> httpx.Client:
        """A bare HTTP client that sends `key` as apikey; with the secret key by default."""
        return httpx.Client(
            base_url=self.url,
            headers={"apikey": key or self.keys.secret, **headers},
            timeout=30,
            verify=NO_TLS,
        )

    def stored(self) -> list[Path]:
        """The files that hold objects' bytes."""
        return sorted(path for path in self.files.rglob("*") if path.is_file())

    def readers(self) -> set[int]:
        """The modes of the folders that hold them."""
        return {stat.S_IMODE(path.parent.stat().st_mode) for path in self.stored()}


@contextmanager
def serve(database: Clone, folder: Path, functions: dict[str, str], echo: Echo) -> Iterator[Gateway]:
    made = keys.load(folder)
    app = create_app(database.url, folder / "objects", made, functions)
    with http_servers.asgi(app) as url, ExitStack() as clients:
        yield Gateway(url, made, database, folder / "objects", echo, clients)
