"""Uploading files through an ordinary storage client, and watching until they are searchable."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cli.client.etags import matches
from cli.client.local_files import LocalFile
from cli.client.outage import Outage
from cli.client.project import Project, storage_errors
from cli.console import output
from shared.errors import (
    DatabaseUnavailable,
    NeuralSearchError,
    ObjectExists,
    ObjectNotFound,
    StackError,
    StorageForbidden,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from storage3._sync.file_api import SyncBucketProxy
    from storage3.types import FileOptions

PARALLEL = 4
POLL_SECONDS = 0.2
NAMES_PER_POLL = 250
PATIENCE_SECONDS = 120.0  # without a single image settling


@dataclass(kw_only=True)
class Report:
    """The files' outcomes, by object name."""

    uploaded: dict[str, float] = field(default_factory=dict)  # when Storage had them, by the monotonic clock
    unchanged: list[str] = field(default_factory=list)  # Storage has the same bytes already
    refused: dict[str, str] = field(default_factory=dict)  # not uploaded, and why
    taken: set[str] = field(default_factory=set)  # of those, whose name another file has
    searchable: dict[str, float] = field(default_factory=dict)  # when the index had them
    unsearchable: dict[str, str] = field(default_factory=dict)  # uploaded, will never be found, and why

    def failed(self) -> int:
        """How many didn't become searchable, though their names were free."""
        return len(self.refused) + len(self.unsearchable) - len(self.taken)

    def latencies(self) -> list[float]:
        """Seconds from uploaded to searchable, sorted."""
        both = self.searchable.keys() & self.uploaded.keys()
        return sorted(max(0.0, self.searchable[name] - self.uploaded[name]) for name in both)


class Watch:
    """Asks the index for the uploads' states until each is settled."""

    def __init__(self, project: Project, bucket: str, report: Report):
        self.project, self.bucket, self.report = project, bucket, report
        self.pending: deque[str] = deque()
        self.asked = self.progressed = time.monotonic()

    def add(self, name: str) -> None:
        self.pending.append(name)

    def poll(self) -> None:
        """At most once in POLL_SECONDS; a long queue is gone through in turns."""
        now = time.monotonic()
        if not self.pending or now - self.asked < POLL_SECONDS:
            return
        self.asked = now
        names = [self.pending.popleft() for _ in range(min(NAMES_PER_POLL, len(self.pending)))]
        try:
            states = self.project.call("object_states", bucket=self.bucket, names=names)
        except DatabaseUnavailable:
            self.pending.extend(names)
            if now - self.progressed > PATIENCE_SECONDS:
                raise
            return
        seen = time.monotonic()
        for row in states:
            self._settle(row["name"], row["state"], row["reason"], seen)
        told = {row["name"] for row in states}  # not all of them where the API's "Max rows" is lower
        self.pending.extend(name for name in names if name not in told)
        self._refuse_to_wait_forever(seen)

    def finish(self, show: Callable[[int], None]) -> None:
        while self.pending:
            self.poll()
            show(self.settled)
            time.sleep(POLL_SECONDS / 4)

    @property
    def settled(self) -> int:
        return len(self.report.searchable) + len(self.report.unsearchable)

    def _settle(self, name: str, state: str, reason: str | None, seen: float) -> None:
        if state == "pending":
            self.pending.append(name)
            return
        self.progressed = seen
        if state == "searchable":
            self.report.searchable[name] = seen
        elif state == "ignored":
            self.report.unsearchable[name] = (
                f"the bucket {self.bucket!r} isn't indexed: `neural-search buckets index {self.bucket}`"
            )
        else:
            self.report.unsearchable[name] = f"{state}: {reason or 'not there, or not yours to see'}"

    def _refuse_to_wait_forever(self, now: float) -> None:
        if self.pending and now - self.progressed > PATIENCE_SECONDS:
            raise StackError(
                f"{len(self.pending)} images still wait, and none became searchable for "
                f"{PATIENCE_SECONDS:.0f} s. See `neural-search jobs`; `neural-search doctor` finds the cause."
            )


def transfer(
    project: Project,
    bucket: str,
    files: Sequence[LocalFile],
    report: Report,
    *,
    upsert: bool = False,
    watch: Watch | None = None,
    show: Callable[[str, int], None] = lambda label, done: None,
) -> None:
    """Uploads `files`, a few at a time, into `report`; with `watch`, until all are searchable or refused.

    `show` gets ("uploading" | "searchable", how many). Interrupted, it lets running uploads finish.
    """
    remote = project.storage.storage.from_(bucket)
    outage = Outage(output.warn)
    with outage.ending(), _pool() as pool:
        running = {pool.submit(_put, remote, file, upsert, outage): file for file in files}
        while running:
            done, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda one: running[one].name):
                _record(running.pop(future), future, report, watch)
            show("uploading", len(files) - len(running))
            if watch:
                watch.poll()
                show("searchable", watch.settled)
    if watch:
        watch.finish(lambda settled: show("searchable", settled))


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads whose queue is dropped when the block is left early: after Ctrl-C nothing new starts."""
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _record(file: LocalFile, future: Future[tuple[bool, float]], report: Report, watch: Watch | None) -> None:
    try:
        is_new, when = future.result()
    except NeuralSearchError as error:
        report.refused[file.name] = str(error)
        if isinstance(error, ObjectExists):
            report.taken.add(file.name)
        return
    except OSError as error:
        report.refused[file.name] = f"{file.path} can't be read: {error.strerror or error}."
        return
    if is_new:
        report.uploaded[file.name] = when
    else:
        report.unchanged.append(file.name)
    if watch:
        watch.add(file.name)


def _put(remote: SyncBucketProxy, file: LocalFile, upsert: bool, outage: Outage) -> tuple[bool, float]:
    """Whether it was uploaded, and when. A lost answer is harmless: the next attempt finds the same bytes."""
    for attempt in count():
        try:
            is_new = _put_once(remote, file, upsert)
        except StorageUnavailable as error:
            if not outage.wait(attempt, str(error)):
                raise
        else:
            outage.over()
            return is_new, time.monotonic()
    raise AssertionError("unreachable")


def _put_once(remote: SyncBucketProxy, file: LocalFile, upsert: bool) -> bool:
    """Whether it had to be uploaded; False where the same bytes are there."""
    path = quote(file.name, safe="/")  # supabase-py would take `?`, `%` and `:` for parts of a URL
    existing = _info(remote, path)
    if existing and _same_bytes(existing, file):
        return False
    if existing and not upsert:
        raise ObjectExists("another file has this name there. `neural-search upload --upsert` replaces it.")
    options: FileOptions = {"content-type": file.content_type, "upsert": "true" if upsert else "false"}
    with storage_errors():
        remote.upload(path, file.path, options)
    return True


def _info(remote: SyncBucketProxy, name: str) -> dict[str, Any] | None:
    """The stored object, as far as this key may know."""
    try:
        with storage_errors():
            found: dict[str, Any] = remote.info(name)
            return found
    except (ObjectNotFound, StorageForbidden):
        return None


def _same_bytes(existing: dict[str, Any], file: LocalFile) -> bool:
    if existing.get("size") != file.path.stat().st_size:
        return False
    return matches(str(existing.get("etag")), file.path)
