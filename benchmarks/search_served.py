"""The query function as it is served: its CPU for a search, its time beside its parts, and searches a second.

In front of a running stack's database, beside the hand-written function of `benchmarks/baselines`; each at a
port of its own, called directly. CPU is read from the processes: other work on the machine weighs less in it
than in times.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import psutil
import requests

from benchmarks.contest import Rates, median, ratio, rounds
from benchmarks.figures import Figure, number
from benchmarks.instant_project import Project
from benchmarks.photographs import photographs
from benchmarks.search_rows import Show
from benchmarks.serving import SECRET, Server, calls_served, ready, running
from benchmarks.whole_function import steps
from shared.settings import Settings

SIZE = (512, 384)
PICTURES, WARM, CALLS = 32, 10, 100
CALLERS, SECONDS, ROUNDS = 16, 5.0, 3
TEXT_CPU, IMAGE_CPU, PARTS, RATE = 12.0, 25.0, 1.3, 4.0  # targets: milliseconds, and ratios
BUCKET = "bucket 10%"  # of one: the results of several are signed in as many calls
PARTS_OF_A_SEARCH = ("embed", "match", "sign")
DECODER = "shared.images.sandbox.child"


def measure(settings: Settings, model: str, seed: int, show: Show) -> list[Figure]:
    """Of a stack whose database has a policy that lets anon see images, and `model` as the active one."""
    project = Project(
        url=settings.need("supabase_url"),
        objects=0,
        secret_key=settings.need("secret_key"),
        publishable_key=settings.need("publishable_key"),
    )
    pictures = list(photographs(*SIZE, PICTURES, seed))
    with (
        running("query", project, model) as ours,
        running("query", project, model, naive=True) as by_hand,
        requests.Session() as session,
    ):
        for server in (ours, by_hand):
            ready(server, pictures[0], session)
        return [*_costs(ours, pictures, session, show), _rate(ours, by_hand, pictures, show)]


def _costs(server: Server, pictures: Sequence[bytes], session: requests.Session, show: Show) -> list[Figure]:
    show("searches through the function", 0, 3)
    of_texts = _of_texts(server, session)
    show("searches through the function", 1, 3)
    return [of_texts, *_of_images(server, pictures, session)]


def _of_texts(server: Server, session: requests.Session) -> Figure:
    numbers = count()

    def new() -> None:
        text = f"a red castle beside water, number {next(numbers)} of many"
        _text(server, text, session).raise_for_status()

    def old() -> None:
        _text(server, "a red castle beside water, number one of many", session).raise_for_status()

    (own, _), (again, _) = _cpu(server, new), _cpu(server, old)
    return _figure("query's own CPU for a text of 9 tokens", own, TEXT_CPU, f"asked again {again:.1f} ms")


def _of_images(server: Server, pictures: Sequence[bytes], session: requests.Session) -> list[Figure]:
    """CPU, and the time beside that of its parts."""
    numbers = count()
    milliseconds: list[float] = []

    def image() -> None:
        _image(server, pictures[next(numbers) % len(pictures)], session).raise_for_status()

    def nothing() -> None:
        session.get(f"{server.url}live", timeout=60).raise_for_status()

    before = steps(session, server.url, SECRET, PARTS_OF_A_SEARCH)
    own, in_decoder = _cpu(server, lambda: milliseconds.append(_timed(image)))
    after = steps(session, server.url, SECRET, PARTS_OF_A_SEARCH)
    parts = {step: 1000 * (after[step] - before[step]) / len(milliseconds) for step in PARTS_OF_A_SEARCH}
    parts["a call that does nothing"] = statistics.median(_timed(nothing) for _ in range(CALLS))
    p50 = statistics.median(milliseconds)
    listed = ", ".join(f"{name} {spent:.1f}" for name, spent in parts.items())
    what = "query's own CPU for an image of 512 pixels"
    return [
        _figure(what, own, IMAGE_CPU, f"and {in_decoder:.1f} ms in a decoder"),
        Figure(
            row="http",
            what="query by an image of 512 pixels, p50 ÷ the sum of its parts",
            value=p50 / sum(parts.values()),
            unit="x",
            target=PARTS,
            at_most=True,
            note=f"{p50:.1f} ms; {listed}",
        ),
    ]


def _rate(ours: Server, by_hand: Server, pictures: Sequence[bytes], show: Show) -> Figure:
    """Images and, of ours, texts: the hand-written function has none."""
    numbers = count()

    def image(server: Server) -> Callable[[requests.Session], requests.Response]:
        return lambda session: _image(server, pictures[next(numbers) % len(pictures)], session)

    def text(session: requests.Session) -> requests.Response:
        return _text(ours, f"a red castle beside water, number {next(numbers)} of many", session)

    turns = {
        "ours": lambda: calls_served(image(ours), SECONDS, CALLERS) / SECONDS,
        "by hand": lambda: calls_served(image(by_hand), SECONDS, CALLERS) / SECONDS,
        "texts": lambda: calls_served(text, SECONDS, CALLERS) / SECONDS,
    }
    found: Rates = rounds(turns, ROUNDS, lambda: show("searches through the function", 2, 3))
    rates = {name: number(median(found, name), "searches/s") for name in turns}
    return Figure(
        row="http",
        what=f"searches by image a second, {CALLERS} callers ÷ the hand-written function's",
        value=ratio(found, "ours", "by hand"),
        unit="x",
        target=RATE,
        note=f"{rates['ours']}; {rates['by hand']}; by text {rates['texts']}",
    )


def _figure(what: str, value: float, target: float, note: str) -> Figure:
    return Figure(row="http", what=what, value=value, unit="ms", target=target, at_most=True, note=note)


def _text(server: Server, text: str, session: requests.Session) -> requests.Response:
    headers = {"apikey": server.publishable_key}
    body = {"text": text, "filter": {"bucket": BUCKET}}
    return session.post(server.url, json=body, headers=headers, timeout=60)


def _image(server: Server, picture: bytes, session: requests.Session) -> requests.Response:
    headers = {"apikey": server.publishable_key, "Content-Type": "image/jpeg"}
    return session.post(server.url, params={"bucket": BUCKET}, data=picture, headers=headers, timeout=60)


def _cpu(server: Server, call: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of CPU for a call: of the server's own processes, and of its decoders."""
    for _ in range(WARM):
        call()
    before = _spent(server)
    for _ in range(CALLS):
        call()
    after = _spent(server)
    own, decoders = (1000 * (then - now) / CALLS for now, then in zip(before, after, strict=True))
    return own, decoders


def _spent(server: Server) -> tuple[float, float]:
    root = psutil.Process(server.process.pid)
    own = decoders = 0.0
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        if DECODER in process.cmdline():
            decoders += times.user + times.system
        else:
            own += times.user + times.system
    return own, decoders


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)
