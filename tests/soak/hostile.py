"""Strangers who mean harm, several at once: `/live` answers within a second, and no answer is a failure.

Each act goes on for some seconds against `query` of an embedded stack, without any key: bodies made to be
expensive to parse, images made to be expensive to decode, half of them hung up on, and connections that
stay open. After each, a search is answered.
"""

from __future__ import annotations

import base64
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import httpx
from soak.outcome import Outcome
from soak.processes import address
from support.embedded_stacks import temporary_stack
from support.hostile_bodies import BODIES
from support.hostile_images import large_and_plain, long_and_plain, many_scans, one_pixel_wide

from shared import settings
from shared.settings import CHECKOUT

CALLERS = 6
HANGS_UP_AFTER = 0.5  # seconds
ALIVE_WITHIN = 1.0  # seconds
SLOW, IDLE = 16, 300
# 422 and 413 among them; 503 where all places are taken. Of honest requests, 200 alone.
FINE = re.compile("4..|503|hung up|200|live 200|search 200")
QUERY = b'{"text":"red"}'


@dataclass
class Act:
    """One kind of harm, and its outcome."""

    name: str
    statuses: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0  # seconds that /live took

    @property
    def evidence(self) -> list[str]:
        failed = [
            f"{count} times {status}" for status, count in self.statuses.items() if not FINE.fullmatch(status)
        ]
        late = [f"/live took {self.slowest:.1f} s"] if self.slowest > ALIVE_WITHIN else []
        return [f"{self.name}: {line}" for line in (*failed, *late)]

    def __str__(self) -> str:
        answered = ", ".join(f"{status} {count}" for status, count in sorted(self.statuses.items()))
        return f"{self.name}: {answered}; /live within {self.slowest:.2f} s"


def run(seconds: float = 60.0, seed: int = 1) -> Outcome:
    """All acts, each for so many seconds."""
    began = time.monotonic()
    with temporary_stack() as stack:
        url = address(stack, "query")
        acts = [
            _flood("bodies", url, seconds, _send_body, seed),
            _flood("images", url, seconds, partial(_send_images, _images()), seed),
            _hold("open connections", url, seconds),
        ]
    for act in acts:
        print(f"hostile, seed {seed}, {act}", flush=True)
    return Outcome(
        part="hostile",
        operations=sum(act.statuses.total() for act in acts),
        seconds=time.monotonic() - began,
        evidence=tuple(line for act in acts for line in act.evidence),
    )


def _flood(name: str, url: str, seconds: float, send: Callable[[str, random.Random], str], seed: int) -> Act:
    """So many callers send one after another, until the seconds are over."""
    act, until = Act(name), time.monotonic() + seconds

    def call(number: int) -> None:
        draw = random.Random(f"{seed} {number}")
        while time.monotonic() < until:
            act.statuses.update([send(url, draw)])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
    with _watched(act, url):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    act.statuses.update([_search(url)])
    return act


def _send_body(url: str, draw: random.Random) -> str:
    headers, build = BODIES[draw.choice(list(BODIES))]
    return _status(lambda: httpx.post(url, content=build(), headers=headers, timeout=60))


def _images() -> list[bytes]:
    """Bodies of eight images each."""
    files = (
        *(one_pixel_wide(), many_scans(100, (4000, 3000)), many_scans(800, (640, 480))),
        *(long_and_plain(), large_and_plain()),
    )
    return [b'{"image":[' + b",".join([b'"' + base64.b64encode(one) + b'"'] * 8) + b"]}" for one in files]


def _send_images(bodies: list[bytes], url: str, draw: random.Random) -> str:
    body, patience = draw.choice(bodies), draw.choice([HANGS_UP_AFTER, 120.0])
    headers = {"Content-Type": "application/json"}
    return _status(lambda: httpx.post(url, content=body, headers=headers, timeout=patience))


def _hold(name: str, url: str, seconds: float) -> Act:
    """Idle connections, and requests that don't come to their end."""
    act, at = Act(name), httpx.URL(url)
    with ExitStack() as open_:

        def connect(beginning: bytes) -> None:
            client = open_.enter_context(socket.create_connection((at.host, at.port or 80), timeout=10))
            client.sendall(beginning)

        for _ in range(IDLE):
            connect(b"")
        for _ in range(SLOW):
            connect(b"POST / HTTP/1.1\r\nHost: query\r\nContent-Length: 100000\r\n\r\n" + b"a" * 70_000)
        with _watched(act, url):
            time.sleep(seconds)
    act.statuses.update([_search(url)])
    return act


@contextmanager
def _watched(act: Act, url: str) -> Iterator[None]:
    """Asks /live all the while."""
    command = [sys.executable, "-m", "soak.live", url]
    environment = settings.bare_environment({"PYTHONPATH": str(CHECKOUT / "tests")})
    watcher = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield
    finally:
        told = json.loads(watcher.communicate()[0])
        act.statuses.update(told["statuses"])
        act.slowest = told["slowest"]


def _search(url: str) -> str:
    """An honest caller's, who comes back when told to."""
    headers = {"Content-Type": "application/json"}
    for _ in range(10):
        status = _status(lambda: httpx.post(url, content=QUERY, headers=headers, timeout=60))
        if status != "503":
            break
        time.sleep(2)
    return f"search {status}"


def _status(send: Callable[[], httpx.Response]) -> str:
    try:
        return str(send().status_code)
    except httpx.TimeoutException:
        return "hung up"
    except httpx.HTTPError as error:
        return type(error).__name__
