"""A burst of uploads is few calls: none times out, and the project's other webhooks hardly wait for them.

One pg_net serves a project's webhooks in batches, each as long as its slowest call. The model costs nothing
here, so that calls are measured and not embedding. Compared with the same burst without a limit of calls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
from soak import stand_in
from soak.outcome import Outcome
from soak.project import Database, Project
from support.embedded_stacks import temporary_stack
from support.http_servers import free_port, threaded

from benchmarks.fresh_bucket import fresh
from benchmarks.pictures import small_jpegs
from local.processes import Child
from shared import settings
from shared.settings import CHECKOUT, Settings

MOST_CALLS = 40  # for 1000 uploads
LONGEST_WAIT = 2.0  # seconds, of another webhook
SLOWER_BY = 1.15  # how much two bursts of the same kind differ on a busy machine
CLIENTS = 16
OTHER_EVERY = 0.7  # seconds between two other webhooks
LOST_AFTER = 60.0  # seconds: a webhook that never arrives isn't waited for without end
READY_WITHIN = 60.0
UNLIMITED = """
create or replace function neural_search.free_slot(scheduled boolean) returns integer
language sql set search_path = '' as 'select 0'
"""
CALLS = """
select count(*), count(*) filter (where r.status_code = 503), count(*) filter (where r.timed_out)
from net._http_response as r where r.id > %s and r.id <> all (%s)
"""


@dataclass(frozen=True, kw_only=True)
class Burst:
    """pg_net's requests and answers while a burst was worked off."""

    seconds: float  # from the first upload to the last searchable image
    calls: int
    refused: int  # answered with 503
    timed_out: int
    waits: list[float]  # of the other webhooks, in seconds

    def __str__(self) -> str:
        return (
            f"{self.calls} calls ({self.refused} refused, {self.timed_out} timed out), searchable after "
            f"{self.seconds:.1f} s, another webhook waited {max(self.waits):.1f} s at most"
            f" ({len(self.waits)} sent)"
        )


class OtherWebhooks:
    """Those of the rest of the project, one after the other, and how long each took to arrive."""

    def __init__(self, project: Project, url: str, arrived: dict[str, float]):
        self.waits: list[float] = []
        self.requests: list[int] = []
        self._project, self._url, self._arrived = project, url, arrived
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> OtherWebhooks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        with self._project.connect() as database:
            while not self._over.is_set():
                path = f"/{len(self.requests)}"
                ((request,),) = database.execute("select net.http_get(%s)", [self._url + path]).fetchall()
                sent = time.monotonic()
                self.requests.append(int(str(request)))
                while path not in self._arrived and time.monotonic() < sent + LOST_AFTER:
                    time.sleep(0.02)
                self.waits.append(self._arrived.get(path, time.monotonic()) - sent)
                self._over.wait(OTHER_EVERY)


def run(count: int = 1000, seed: int = 1) -> Outcome:
    """Both bursts on a stack of its own, with the stand-in as its function."""
    began = time.monotonic()
    with temporary_stack() as stack, _function(stack.settings) as url, _receiver() as (other, arrived):
        project = Project(stack.settings)
        project.send_webhooks_to(url)
        with project.connect() as database:
            _use_stand_in(database)
            limited = _burst(project, stack.settings, count, seed, other, arrived)
            database.execute(UNLIMITED)
        unlimited = _burst(project, stack.settings, count, seed + 1, other, arrived)
    print(f"burst: {limited}\nburst without a limit: {unlimited}")
    return Outcome(
        part="burst",
        operations=2 * count,
        seconds=time.monotonic() - began,
        lost=0,  # or it had broken off
        evidence=tuple(_judge(limited, unlimited, count)),
    )


def _judge(limited: Burst, unlimited: Burst, count: int) -> Iterator[str]:
    most = MOST_CALLS * count / 1000
    if limited.calls > most:
        yield f"{limited.calls} calls, expected at most {most:.0f}"
    if limited.timed_out:
        yield f"{limited.timed_out} calls timed out"
    if max(limited.waits) > LONGEST_WAIT:
        yield f"another webhook waited {max(limited.waits):.1f} s, expected at most {LONGEST_WAIT} s"
    if limited.seconds > SLOWER_BY * unlimited.seconds:
        yield f"searchable after {limited.seconds:.1f} s, and without a limit after {unlimited.seconds:.1f} s"


def _burst(
    project: Project, own: Settings, count: int, seed: int, other: str, arrived: dict[str, float]
) -> Burst:
    pictures = list(small_jpegs(count, seed))
    arrived.clear()
    with fresh(own, "burst", indexed=True) as bucket, project.connect() as database:
        ((last,),) = database.execute("select last_value from net.http_request_queue_id_seq").fetchall()
        began = time.time()
        with OtherWebhooks(project, other, arrived) as others:
            bucket.upload(pictures, CLIENTS)
            bucket.wait_until_searchable(count)
        _wait_for_answers(database)
        ((calls, refused, timed_out),) = database.execute(CALLS, [last, others.requests]).fetchall()
        return Burst(
            seconds=bucket.embedded()[1] - began,
            calls=int(str(calls)),
            refused=int(str(refused)),
            timed_out=int(str(timed_out)),
            waits=others.waits,
        )


def _wait_for_answers(database: Database) -> None:
    """Requests leave the queue when their batch is over."""
    while database.execute("select from net.http_request_queue").rowcount:
        time.sleep(0.2)


def _use_stand_in(database: psycopg.Connection[tuple[object, ...]]) -> None:
    model = stand_in.MODEL
    database.execute("select public.add_model(%s, %s, 'exact')", [model.name, model.dimensions])
    database.execute("select public.activate_model(%s)", [model.name])
    database.execute("update neural_search.models set state = 'retired' where name <> %s", [model.name])


@contextmanager
def _function(own: Settings) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = settings.bare_environment(settings.environment(own))
    environment["PYTHONPATH"] = str(CHECKOUT / "tests")
    log = own.local_data / "logs" / "stand_in.log"
    function = Child("stand-in", ["soak.stand_in", str(port)], environment, log, CHECKOUT)
    function.start()
    try:
        function.wait_for_answer(f"{url}/live", time.monotonic() + READY_WITHIN)
        yield url
    finally:
        function.end()


@contextmanager
def _receiver() -> Iterator[tuple[str, dict[str, float]]]:
    """Where the other webhooks go, and when (monotonic seconds) which path arrived there."""
    arrived: dict[str, float] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            arrived[self.path] = time.monotonic()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with threaded(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url, arrived
