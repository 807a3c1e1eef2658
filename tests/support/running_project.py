"""The gateway and the functions on real sockets, in threads of the test's process.

They log to its stderr: fixtures keep them for a module at most, as other modules' tests capture that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import functions_framework
import httpx
import psycopg
from supabase import Client, create_client
from supabase.lib.client_options import SyncClientOptions
from werkzeug.serving import make_server

from local import keys
from local.gateway import create_app
from local.keys import Keys
from shared import settings
from shared.runtime.model_registry import ModelRegistry
from shared.settings import CHECKOUT
from shared.testing import ColourEmbedder
from support import http_servers
from support.waiting import PATIENCE, eventually

MODEL = "efficientnet-lite0-concepts"  # the one that the migrations make active
DIMENSIONS = 1408


@dataclass(frozen=True)
class Running:
    """A project with its functions."""

    url: str
    keys: Keys
    database_url: Callable[[str], str]
    open: ExitStack = field(repr=False)
    apps: dict[str, Any] = field(default_factory=dict)  # the functions by name, as Flask apps

    def supabase(self, token: str | None = None, key: str | None = None) -> Client:
        """An unmodified supabase-py client: anon, or the user of `token`."""
        # Plain HTTP: reading the certificates would take 40 ms for each client.
        http = self.open.enter_context(httpx.Client(timeout=30, verify=False))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return create_client(
            self.url, key or self.keys.publishable, SyncClientOptions(httpx_client=http, headers=headers)
        )

    def service(self) -> Client:
        return self.supabase(key=self.keys.secret)

    def user(self, name: str) -> str:
        """A user's token."""
        return self.keys.mint("authenticated", {"sub": name})

    def post(self, path: str, **request: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/functions/v1/{path}", timeout=60, **request)

    def search(self, token: str | None = None, **query: Any) -> list[str]:
        """The results of a search, as bucket/name."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.post("query", json=query, headers=headers)
        assert answer.status_code == 200, answer.text
        return [f"{one['bucket']}/{one['name']}" for one in answer.json()["results"]]

    def state(self, name: str, bucket: str = "images") -> tuple[str, str | None]:
        asked = {"bucket": bucket, "names": [name]}
        [row] = self.service().rpc("object_states", asked).execute().data
        return row["state"], row["reason"]

    def eventually(self, look: Callable[[], Any], expected: Any) -> None:
        eventually(look, PATIENCE, wanted=lambda seen: seen == expected)

    def execute(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.database_url("postgres"), autocommit=True) as connection:
            connection.execute(statement, values)


@contextmanager
def running(
    database_url: Callable[[str], str],
    folder: Path,
    between: Callable[[str], AbstractContextManager[str]] = nullcontext,
) -> Iterator[Running]:
    """Everything, with the webhook connected; the functions reach the project through `between`."""
    mine = keys.load(folder)
    functions: dict[str, str] = {}
    apps: dict[str, Any] = {}
    with ExitStack() as open_:
        app = create_app(database_url, folder / "objects", mine, functions)
        url = open_.enter_context(http_servers.asgi(app))
        seen = open_.enter_context(between(url))
        for name in ("query", "embed_on_upload"):
            apps[name] = _app(name, seen, mine)
            functions[name] = open_.enter_context(_served(apps[name]))
        project = Running(url, mine, database_url, open_, apps)
        for name, value in (
            ("neural_search_embed_url", f"{url}/functions/v1/embed_on_upload"),
            ("neural_search_webhook_secret", mine.webhook),
        ):
            project.execute("select vault.create_secret(%s, %s)", str(value), name)
        yield project


def rested() -> None:
    """Nothing is at work any more after its call was answered: it takes no later job."""
    eventually(lambda: all(thread.name != "background worker" for thread in threading.enumerate()))


def _app(name: str, url: str, mine: Keys) -> Any:
    app = functions_framework.create_app(name, str(CHECKOUT / "functions" / name / "main.py"))
    environment = {"SUPABASE_URL": url, "SUPABASE_PUBLISHABLE_KEY": mine.publishable}
    if name == "embed_on_upload":
        environment |= {"SUPABASE_SECRET_KEY": mine.secret, "EMBED_WEBHOOK_SECRET": mine.webhook}
    app.extensions["settings"] = settings.load(environment)
    app.extensions["models"] = ModelRegistry([MODEL], lambda model: ColourEmbedder(model, DIMENSIONS))
    return app


@contextmanager
def _served(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.log = lambda *_: None  # type: ignore[method-assign]
    try:
        with http_servers.threaded(server) as address:
            yield address
        rested()  # its work needs the connections
    finally:
        for connections in ("http", "session", "decoders"):
            if connections in app.extensions:
                app.extensions[connections].close()
