"""A bucket for a benchmark: filled by a few clients at once, watched until searchable, and taken away."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import requests

from shared.settings import Settings
from shared.supabase import credentials
from shared.supabase.storage import Storage, http_session

EMBED_URL = "neural_search_embed_url"
PAUSED = "neural_search_embed_url (paused by a benchmark)"
POLL_SECONDS = 0.5
STUCK_SECONDS = 120  # without a single new document
REMOVED_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """One private bucket; `url` is the database's."""

    name: str
    settings: Settings
    url: str

    def upload(self, pictures: Sequence[bytes], clients: int) -> None:
        """Uploads them as `0.jpg`, `1.jpg` …, by so many clients at a time."""
        own = threading.local()

        def upload(number: int) -> None:
            if not hasattr(own, "storage"):
                url = self.settings.need("supabase_url")
                own.storage = Storage(url, credentials.service(self.settings), http_session(url))
            own.storage.upload(self.name, f"{number}.jpg", pictures[number], mime_type="image/jpeg")

        with ThreadPoolExecutor(clients) as pool:
            for done, _ in enumerate(pool.map(upload, range(len(pictures))), 1):
                if done % 1000 == 0:
                    note(f"{self.name}: {done} uploaded")

    def index(self) -> None:
        """Registers it: its images are queued."""
        self._row("select public.index_bucket(%s)", self.name)

    def wait_until_searchable(self, count: int) -> None:
        """Ends the program where for two minutes nothing comes any more: an image is lost or failed."""
        found, since = 0, time.monotonic()
        while found < count:
            time.sleep(POLL_SECONDS)
            now = self.documents()
            if now > found:
                found, since = now, time.monotonic()
            if time.monotonic() - since > STUCK_SECONDS:
                sys.exit(
                    f"error: {count - found} of {count} images aren't searchable: see `neural-search jobs`"
                )

    def documents(self) -> int:
        (found,) = self._row("select count(*) from neural_search.documents where bucket_id = %s", self.name)
        return int(found)

    def embedded(self) -> tuple[float, float]:
        """When the first and the last document were written, in seconds since 1970."""
        first, last = self._row(
            "select extract(epoch from min(embedded_at))::float8,"
            " extract(epoch from max(embedded_at))::float8"
            " from neural_search.documents where bucket_id = %s",
            self.name,
        )
        return float(first), float(last)

    def freshness(self) -> tuple[float, float]:
        """Queued → searchable, p50 and p95 in seconds."""
        p50, p95 = self._row(
            "select percentile_cont(0.5) within group (order by s)::float8,"
            " percentile_cont(0.95) within group (order by s)::float8 from"
            " (select extract(epoch from embedded_at - queued_at) as s from neural_search.documents"
            "  where bucket_id = %s) as waited",
            self.name,
        )
        return float(p50), float(p95)

    def _row(self, statement: str, *values: Any) -> tuple[Any, ...]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(statement.encode(), values).fetchone()
        assert row is not None
        return row


@contextmanager
def fresh(settings: Settings, kind: str, *, indexed: bool) -> Iterator[Bucket]:
    """A bucket of its own for the block."""
    bucket = Bucket(
        name=f"benchmark-{kind}-{uuid.uuid4().hex[:8]}", settings=settings, url=settings.need("database_url")
    )
    _call(bucket, "POST", "bucket", {"id": bucket.name, "name": bucket.name, "public": False})
    try:
        if indexed:
            bucket.index()
        yield bucket
    finally:
        _remove(bucket)


def _remove(bucket: Bucket) -> None:
    while True:
        listed = _call(bucket, "POST", f"object/list/{bucket.name}", {"prefix": "", "limit": REMOVED_AT_ONCE})
        if not listed:
            break
        names = [row["name"] for row in listed]
        _call(bucket, "DELETE", f"object/{bucket.name}", {"prefixes": names})
    bucket._row("select public.unindex_bucket(%s)", bucket.name)
    _call(bucket, "DELETE", f"bucket/{bucket.name}", {})


def _call(bucket: Bucket, method: str, path: str, body: dict[str, Any]) -> Any:
    url = f"{bucket.settings.need('supabase_url')}/storage/v1/{path}"
    answer = requests.request(
        method, url, json=body, headers=credentials.service(bucket.settings).headers, timeout=60
    )
    answer.raise_for_status()
    return answer.json()


@contextmanager
def webhook_paused(url: str) -> Iterator[None]:
    """Nothing calls embed_on_upload in the block: its address is out of Vault, as with a worker alone."""
    rename = "select vault.update_secret(id, new_name => %s) from vault.decrypted_secrets where name = %s"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(rename, [PAUSED, EMBED_URL])
    try:
        yield
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(rename, [EMBED_URL, PAUSED])


def note(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)
