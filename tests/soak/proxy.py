"""The network's mishaps with webhooks, between the database's net worker and embed_on_upload."""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

LONGEST_DELAY = 2.0  # seconds
HELD_AT_MOST = 0.5  # seconds that a webhook waits to be overtaken
SENDERS = 16
TIMEOUT = 60.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Tampering:
    """How likely each mishap is, for each webhook by itself."""

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    reorder: float = 0.0  # it is held until another one has overtaken it
    spares_kicks: bool = False  # the schedule's own come through unharmed


NOTHING = Tampering()
A_THIRD_OF_EACH = Tampering(drop=0.3, duplicate=0.3, delay=0.3, reorder=0.3)
ONLY_KICKS = Tampering(drop=1.0, spares_kicks=True)
NO_WEBHOOKS = Tampering(drop=1.0)


class WebhookProxy:
    """Takes every webhook, answers 200 at once, and delivers some, when it pleases."""

    def __init__(self, target: str, seed: int):
        self.tampering = NOTHING
        self.mishaps: Counter[str] = Counter()
        self.delivered: Counter[int] = Counter()  # by the answer's status; 0 where there was none
        self.url = ""
        self._target = target
        self._chance = random.Random(f"{seed}/webhooks")
        self._waiting: list[tuple[float, int, bytes, Mapping[str, str]]] = []  # by due time
        self._held: list[tuple[bytes, Mapping[str, str]]] = []
        self._count = 0
        self._sending = 0
        self._wake = threading.Condition()
        self._closed = False

    def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        """One webhook from the database."""
        with self._wake:
            tampering = self.tampering
            if tampering.spares_kicks and json.loads(body).get("type") == "KICK":
                tampering = NOTHING
            if self._happens("drop", tampering.drop):
                return
            copies = 2 if self._happens("duplicate", tampering.duplicate) else 1
            late = self._chance.uniform(0, LONGEST_DELAY) if self._happens("delay", tampering.delay) else 0.0
            overtaken, self._held = self._held, []
            if self._happens("reorder", tampering.reorder):
                self._held = [(body, headers)] * copies
            else:
                self._send_in(late, [(body, headers)] * copies)
            # Just after a later webhook; where none comes, a little later.
            self._send_in(0.01, overtaken)
            self._wake.notify()

    def work(self) -> None:
        """Deliver until closed."""
        with ThreadPoolExecutor(SENDERS) as pool, httpx.Client(timeout=TIMEOUT) as http:
            while True:
                with self._wake:
                    if self._closed:
                        return
                    self._wake.wait(self._seconds_to_wait())
                    due = self._take_due()
                for body, headers in due:
                    pool.submit(self._deliver, http, body, headers)

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify()

    @property
    def is_idle(self) -> bool:
        """Whether no webhook waits here or is on its way."""
        with self._wake:
            return not (self._waiting or self._held or self._sending)

    def _happens(self, mishap: str, likelihood: float) -> bool:
        happens = self._chance.random() < likelihood
        self.mishaps[mishap] += happens
        return happens

    def _send_in(self, seconds: float, webhooks: list[tuple[bytes, Mapping[str, str]]]) -> None:
        for body, headers in webhooks:
            self._count += 1
            heapq.heappush(self._waiting, (time.monotonic() + seconds, self._count, body, headers))

    def _seconds_to_wait(self) -> float:
        next_due = self._waiting[0][0] - time.monotonic() if self._waiting else HELD_AT_MOST
        return max(0.0, min(next_due, HELD_AT_MOST))

    def _take_due(self) -> list[tuple[bytes, Mapping[str, str]]]:
        due = []
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, _, body, headers = heapq.heappop(self._waiting)
            due.append((body, headers))
        if not due and not self._waiting:
            due, self._held = self._held, []
        self._sending += len(due)
        return due

    def _deliver(self, http: httpx.Client, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            status = http.post(self._target, content=body, headers=dict(headers)).status_code
        except httpx.HTTPError:
            status = 0
        with self._wake:
            self.delivered[status] += 1
            self._sending -= 1


@contextmanager
def webhook_proxy(target: str, seed: int) -> Iterator[WebhookProxy]:
    """A proxy that listens at its `url` and delivers to `target`."""
    proxy = WebhookProxy(target, seed)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            proxy.take(body, {name: self.headers[name] for name in ("Content-Type", "x-webhook-secret")})
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy.url = f"http://127.0.0.1:{server.server_port}/"
        threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,)),
            threading.Thread(target=proxy.work),
        ]
        for thread in threads:
            thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            proxy.close()
            for thread in threads:
                thread.join()
