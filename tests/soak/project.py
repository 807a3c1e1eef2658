"""A running project as its owner sees it: prepared for a soak, waited for, judged."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import psycopg
from soak import invariants
from soak.invariants import Embed, Explanations, Verdict
from soak.workload import INDEXED, UNINDEXED, Storage

from shared.settings import Settings

RECONCILE_EVERY = "10 seconds"  # five minutes outside of a soak
LOOK_EVERY = 1.0  # seconds between two looks at the backlog
PAGE = 1000  # jobs per call

Database = psycopg.Connection[tuple[object, ...]]


class Project:
    """One that `settings` lead to. Its database may be away at any moment."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._url, self._key = settings.supabase_url, settings.secret_key

    def connect(self) -> Database:
        return psycopg.connect(self._settings.database_url, autocommit=True, connect_timeout=5)

    def storage(self) -> Storage:
        return Storage(self._url, self._key)

    def prepare(self) -> None:
        """Make the soak's buckets, index all but one, and reconcile often."""
        storage = self.storage()
        for bucket in (*INDEXED, UNINDEXED):
            storage.make_bucket(bucket)
        storage.close()
        with self.connect() as database:
            for bucket in INDEXED:
                database.execute("select public.index_bucket(%s)", [bucket])
            self.reschedule(database, "neural-search-reconcile", RECONCILE_EVERY)

    def reschedule(self, database: Database, name: str, schedule: str) -> None:
        """Run `neural-search install`'s schedule of this name more often."""
        rescheduled = database.execute(
            "select cron.schedule(jobname, %s, command) from cron.job where jobname = %s", [schedule, name]
        )
        assert rescheduled.rowcount == 1, f"nothing is scheduled as {name}"

    def send_webhooks_to(self, url: str) -> None:
        """Let the database call this address instead of the function's."""
        with self.connect() as database:
            database.execute(
                "select vault.update_secret(s.id, %s) from vault.secrets as s where s.name = %s",
                [url, "neural_search_embed_url"],
            )

    def webhooks_waiting(self) -> int:
        """In the database, those included that are being sent."""
        with self.connect() as database:
            [(count,)] = database.execute("select count(*) from net.http_request_queue").fetchall()
        return int(str(count))

    def explain(self) -> Explanations:
        """An operator's view of the images that will have no document."""
        return invariants.terminal(row for state in ("skipped", "failed") for row in self._jobs(state))

    def _jobs(self, state: str) -> Iterator[dict[str, object]]:
        url = f"{self._url}/rest/v1/rpc/list_embedding_jobs"
        after: dict[str, object] = {}
        while True:
            asked = {"job_state": state, "max_rows": PAGE, **after}
            answer = httpx.post(url, json=asked, headers={"apikey": self._key}, timeout=30)
            rows = answer.raise_for_status().json()
            yield from rows
            if len(rows) < PAGE:
                return
            after = {"after_object_id": rows[-1]["object_id"], "after_model": rows[-1]["model"]}

    def repaired(self) -> str:
        """How many objects reconcile has found that the triggers had missed."""
        with self.connect() as database:
            [(missing, stale, orphaned)] = database.execute(
                "select coalesce(sum(r.missing), 0), coalesce(sum(r.stale), 0), coalesce(sum(r.orphaned), 0) "
                "from neural_search.reconciliations as r"
            ).fetchall()
        return f"{missing} missing, {stale} stale, {orphaned} orphaned"

    def judge(self, embed: Embed | None, seed: int) -> Verdict:
        storage = self.storage()
        try:
            with self.connect() as database:
                return invariants.check(database, storage.read, self.explain, embed, seed=seed)
        finally:
            storage.close()

    def converge(self, embed: Embed | None, seed: int, within: float) -> tuple[Verdict, float]:
        """The verdict as soon as nothing is wrong any more, or after `within` seconds; how long it took."""
        began = time.monotonic()
        while not self._settled() and time.monotonic() - began < within:
            time.sleep(LOOK_EVERY)
        seconds = time.monotonic() - began
        while (verdict := self.judge(embed, seed)).violations and time.monotonic() - began < within:
            time.sleep(LOOK_EVERY)
            seconds = time.monotonic() - began
        return verdict, seconds

    def _settled(self) -> bool:
        try:
            with self.connect() as database:
                return invariants.unsettled(database, self.explain) == 0
        except (psycopg.OperationalError, httpx.HTTPError):  # still coming up again
            return False
