"""The queue in a busy database: beside a transaction that stays open, and uploads beside a large backfill.

It is about the queue alone: the model has 4 dimensions and no index, and a worker is two statements, claim
and finish, as the functions make them. PostgreSQL has its own settings, with full care for power cuts.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import psycopg

from benchmarks.figures import HEAD, Figure, lines
from benchmarks.speed import machine

MODEL, VECTOR = "queue-benchmark", "[1,0,0,0]"
RATE = 100.0  # uploads per second
BATCH = 12  # jobs that a worker takes ahead, as the functions do
WORKERS = 4
JOB_SECONDS = 0.04  # of a job of the backfill, as long as the default model takes for one on two cores
UPLOADS_EVERY = 1.0  # seconds, beside the backfill
UPLOADS = 60
WINDOW = 60.0
PATIENCE = 600.0
FEW = 1000  # dead rows: autovacuum begins at 500 and one in a hundred

UPLOAD = "insert into storage.objects (bucket_id, name, version) values ('images', %s, %s)"
CLAIM = "select object_id, version from public.claim_embedding_jobs(%s, %s)"
FINISH = "select public.finish_embedding_job(%s, %s, %s, %s, 'hash', 1, 1, 'image/jpeg')"
DEAD = "select n_dead_tup from pg_stat_user_tables where relid = 'neural_search.jobs'::regclass"
WAITING = "select count(*) from neural_search.jobs"

SUPERUSER = "supabase_admin"

Connection = psycopg.Connection[tuple[object, ...]]
Took = tuple[float, float]  # when a statement began (monotonic seconds), and how long it took


@dataclass(kw_only=True)
class Workers:
    """The workers' record."""

    job_seconds: float = 0.0
    claims: list[Took] = field(default_factory=list)
    done: int = 0

    def work(self, url: str, over: threading.Event) -> None:
        with connect(url, "service_role") as connection:
            while not over.is_set():
                began = time.monotonic()
                jobs = connection.execute(CLAIM, [[MODEL], BATCH]).fetchall()
                self.claims.append((began, time.monotonic() - began))
                for object_id, version in jobs:
                    time.sleep(self.job_seconds)
                    connection.execute(FINISH, [object_id, MODEL, version, VECTOR])
                    self.done += 1
                if not jobs:
                    over.wait(0.1)


def measure(
    url: str, show: Callable[[str], None], *, minutes: float = 5, backfill: int = 100_000
) -> tuple[list[Figure], str]:
    """The figures and where they were measured, in a database of its own; `url` is its superuser's."""
    load = os.getloadavg()[0]
    with connect(url) as connection:
        _prepare(connection)
        ((version,),) = connection.execute("show server_version").fetchall()
    figures = [*_beside_a_transaction(url, show, 60 * minutes), *_beside_a_backfill(url, show, backfill)]
    on = machine()
    where = f"{on['cores']} cores of {on['cpu']}, {on['memory_gb']} GB, PostgreSQL {version}"
    when = time.strftime("%Y-%m-%d", time.gmtime())
    return figures, f"{when}, {where}; load average {load:.1f} before and {os.getloadavg()[0]:.1f} after."


def markdown(figures: Sequence[Figure], where: str) -> str:
    return "\n".join([where, "", *HEAD, *lines(figures)])


def _beside_a_transaction(url: str, show: Callable[[str], None], seconds: float) -> Iterator[Figure]:
    with _working(url, 2) as workers, _idling(url) as nothing, connect(url) as connection:
        with _uploads(url):
            show(f"{RATE:.0f} uploads per second …")
            time.sleep(WINDOW)
            began = time.monotonic()
            show(f"{RATE:.0f} uploads per second beside a transaction of {seconds / 60:.0f} minutes …")
            with connect(url) as other, other.transaction():
                other.execute("set transaction isolation level repeatable read")
                other.execute("select count(*) from storage.objects")
                time.sleep(seconds)
        ended = time.monotonic()
        [waiting], [dead] = _row(connection, WAITING), _row(connection, DEAD)
        show("Waiting for the last jobs and for autovacuum …")
        drained = _seconds_until(lambda: _row(connection, WAITING) == (0,), every=0.05)
        gone = drained + _seconds_until(lambda: int(str(_row(connection, DEAD)[0])) < FEW)
    first, last = (began - WINDOW, began), (ended - WINDOW, ended)
    idle = "a statement that does nothing: {:.1f} ms"
    yield Figure(
        row="queue", what="claim of 12 jobs, p95, in the minute before", unit="ms",
        value=p95(workers.claims, *first), note=idle.format(p95(nothing, *first)),
    )  # fmt: skip
    yield Figure(
        row="queue", what="claim of 12 jobs, p95, in the last minute of the transaction", unit="ms",
        value=p95(workers.claims, *last), target=25, at_most=True, note=idle.format(p95(nothing, *last)),
    )  # fmt: skip
    yield Figure(
        row="queue", what="from its end, and that of the uploads, until no job waits", unit="s",
        value=drained, note=f"{waiting:,} waited, {workers.done:,} were done",
    )  # fmt: skip
    yield Figure(
        row="queue", what=f"from its end until fewer than {FEW:,} rows of jobs are dead", unit="s",
        value=gone, target=60, at_most=True, note=f"{dead:,} before",
    )  # fmt: skip


def _beside_a_backfill(url: str, show: Callable[[str], None], count: int) -> Iterator[Figure]:
    show(f"Queueing {count:,} images …")
    with connect(url, SUPERUSER) as connection:
        queued = _queue_backfill(connection, count)
        show("Uploads beside the backfill …")
        with _working(url, WORKERS, JOB_SECONDS):
            waits = [_seconds_to_searchable(connection, f"fresh/{number}.jpg") for number in range(UPLOADS)]
        [left] = _row(connection, "select count(*) from neural_search.jobs where priority = 1")
    note = f"{UPLOADS} uploads, p50 {np.median(waits):.2f} s; {left:,} of {count:,} still waited"
    yield Figure(row="backfill", what=f"queueing {count:,} images", unit="s", value=queued)
    yield Figure(row="backfill", what="upload → document beside them, at most", unit="s", value=max(waits),
                 target=2, at_most=True, note=note)  # fmt: skip


def _queue_backfill(connection: Connection, count: int) -> float:
    """Objects that were there before anybody listened, and their jobs; seconds for these."""
    connection.execute("set session_replication_role = 'replica'")
    connection.execute(
        "insert into storage.objects (bucket_id, name, version, created_at, updated_at)"
        " select 'images', 'old/' || n, n, '2020-01-01', '2020-01-01' from generate_series(1, %s) as n",
        [count],
    )
    connection.execute("set session_replication_role = 'origin'")
    began = time.monotonic()
    while _row(connection, "select public.backfill_documents()") != (0,):
        pass
    return time.monotonic() - began


def _seconds_to_searchable(connection: Connection, name: str) -> float:
    began = time.monotonic()
    connection.execute(UPLOAD, [name, "1"])
    found = "select from neural_search.documents where bucket_id = 'images' and content = %s"
    _seconds_until(lambda: connection.execute(found, [name]).rowcount == 1, every=0.01)
    took = time.monotonic() - began
    time.sleep(max(0.0, UPLOADS_EVERY - took))
    return took


def _prepare(connection: Connection) -> None:
    connection.execute("insert into storage.buckets (id, name) values ('images', 'images')")
    connection.execute("select public.index_bucket('images')")
    connection.execute("select public.add_model(%s, 4, 'exact')", [MODEL])
    connection.execute("select public.activate_model(%s)", [MODEL])
    connection.execute("update neural_search.models set state = 'retired' where name <> %s", [MODEL])


def p95(statements: Sequence[Took], since: float, until: float) -> float:
    """Milliseconds, of those that began in this time."""
    return 1000 * float(np.quantile([took for at, took in statements if since <= at < until], 0.95))


@contextmanager
def _idling(url: str) -> Iterator[list[Took]]:
    """A statement that does nothing, ten times a second: the machine's share in any other."""
    took: list[Took] = []
    over = threading.Event()

    def idle() -> None:
        with connect(url) as connection:
            while not over.wait(0.1):
                began = time.monotonic()
                connection.execute("select")
                took.append((began, time.monotonic() - began))

    with _running([idle], over):
        yield took


@contextmanager
def _uploads(url: str) -> Iterator[None]:
    """RATE in each second, each in a transaction of its own."""
    over = threading.Event()

    def upload() -> None:
        began = time.monotonic()
        with connect(url, "supabase_storage_admin") as connection:
            for number in itertools.count():
                if over.wait(max(0.0, began + number / RATE - time.monotonic())):
                    return
                connection.execute(UPLOAD, [f"{number}.jpg", str(number)])

    with _running([upload], over):
        yield


@contextmanager
def _working(url: str, count: int, job_seconds: float = 0.0) -> Iterator[Workers]:
    workers, over = Workers(job_seconds=job_seconds), threading.Event()
    with _running([lambda: workers.work(url, over)] * count, over):
        yield workers


@contextmanager
def _running(tasks: Sequence[Callable[[], None]], over: threading.Event) -> Iterator[None]:
    """Each in a thread; its error is raised at the end of the block."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        running = [pool.submit(task) for task in tasks]
        try:
            yield
        finally:
            over.set()
        for one in running:
            one.result()


def _seconds_until(reached: Callable[[], bool], every: float = 1.0) -> float:
    began = time.monotonic()
    while not reached():
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError(f"The queue or autovacuum stood still for {PATIENCE:.0f} s.")
        time.sleep(every)
    return time.monotonic() - began


def _row(connection: Connection, statement: str) -> tuple[object, ...]:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row


@contextmanager
def connect(url: str, role: str = "postgres") -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"set role {role}".encode())
        yield connection
