"""A project whose functions reach it through a proxy that a test can break."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from support.faulty_proxy import Proxy
from support.running_project import Running, rested, running

EMBED_URL = "neural_search_embed_url"
PNG = {"content-type": "image/png"}


@dataclass(frozen=True)
class FaultyProject:
    """Nothing happens by itself in it: a test kicks, and says when the time of every back-off has passed."""

    running: Running
    proxy: Proxy
    bucket: Any  # `images` as storage-py shows it: making a client for each call would take most of the time

    def upload(self, name: str, data: bytes, **options: str) -> None:
        self.bucket.upload(name, data, {**PNG, **options})

    def kick(self) -> httpx.Response:
        """The schedule's call, at once and with the function's answer."""
        return self._call({"type": "KICK", "limit": 50})

    def webhook(self, name: str) -> httpx.Response:
        """The trigger's call for one object, likewise."""
        [row] = self.rows("select to_jsonb(o) as row from storage.objects as o where o.name = %s", name)
        event = {"type": "INSERT", "table": "objects", "schema": "storage", "old_record": None}
        return self._call({**event, "record": row["row"]})

    def _call(self, body: dict[str, Any]) -> httpx.Response:
        headers = {"x-webhook-secret": str(self.running.keys.webhook)}
        answer = self.running.post("embed_on_upload", json=body, headers=headers)
        rested()
        return answer

    def time_passes(self) -> None:
        """Every back-off is over, and every lease of a worker that vanished."""
        self.running.execute("update neural_search.jobs set next_attempt_at = now() where state = 'pending'")

    def converge(self) -> None:
        """Let the schedule repair the rest, now that nothing is wrong any more."""
        for _round in range(5):
            if not self.rows("select from neural_search.jobs where state = 'pending'"):
                return
            self.time_passes()
            answer = self.kick()
            assert answer.status_code == 200, answer.text
        raise AssertionError(self.rows("select * from neural_search.jobs where state = 'pending'"))

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        url = self.running.database_url("postgres")
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            connection.adapters.register_loader("timestamptz", TextLoader)  # Python has no infinite times
            return connection.execute(statement.encode(), values).fetchall()

    def job(self, name: str) -> dict[str, Any]:
        """Its only job."""
        [row] = self.rows(
            "select j.* from neural_search.jobs as j join storage.objects as o on o.id = j.object_id"
            " where o.bucket_id = 'images' and o.name = %s",
            name,
        )
        return row

    def documents(self, name: str) -> list[dict[str, Any]]:
        return self.rows("select * from neural_search.documents where content = %s", name)

    def check_searchable(self, *names: str) -> None:
        """One document each, of the object's present version and bytes, and no job that is left over."""
        for name in names:
            [document] = self.documents(name)
            [stored] = self.rows("select * from storage.objects where id = %s", document["object_id"])
            data = self.bucket.download(name)
            assert (stored["name"], stored["version"]) == (name, document["object_version"])
            assert document["content_hash"] == hashlib.sha256(data).hexdigest()
            left = "select * from neural_search.jobs where object_id = %s"
            assert self.rows(left, document["object_id"]) == []

    @contextmanager
    def by_itself(self) -> Iterator[None]:
        """The webhook connected, and the schedule's time passing faster."""
        schedule = "select cron.schedule('neural-search-kick', %s, 'select neural_search.kick_due()')"
        self.connect_webhook(True)
        self.running.execute(schedule, "1 seconds")
        try:
            yield
        finally:
            self.running.execute(schedule, "15 seconds")
            self.connect_webhook(False)
            # A request that has left the queue is answered, and takes no later test's job.
            self.running.eventually(lambda: self.rows("select from net.http_request_queue"), [])
            rested()

    def connect_webhook(self, connected: bool) -> None:
        names = ("hidden", EMBED_URL) if connected else (EMBED_URL, "hidden")
        rename = "select vault.update_secret(id, new_name => %s) from vault.decrypted_secrets where name = %s"
        self.running.execute(rename, *reversed(names))


@contextmanager
def faulty_project(database_url: Callable[[str], str], folder: Path) -> Iterator[FaultyProject]:
    proxy = Proxy(target="")

    @contextmanager
    def between(url: str) -> Iterator[str]:
        proxy.target = url
        with proxy.serving() as address:
            yield address

    with running(database_url, folder, between) as everything:
        project = FaultyProject(everything, proxy, everything.service().storage.from_("images"))
        project.connect_webhook(False)
        yield project
