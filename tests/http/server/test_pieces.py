"""Bodies in many pieces are told apart by their number, on machines of any speed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import chain, repeat
from types import SimpleNamespace

import flask
import pytest
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.unreader import IterUnreader
from werkzeug.test import EnvironBuilder

from shared.errors import RequestError
from shared.http import bodies
from shared.runtime.limiter import ConcurrencyLimiter

READERS = ConcurrencyLimiter(running=1, waiting=0)
SLOW = 100_000_000  # bytes that a slow CPU reads in a second


def chunked(size: int, count: int, packet: int | None = None) -> flask.Request:
    """A request of so many chunks, each of so many bytes, that come one by one or in packets."""
    wire: Iterable[bytes] = chain(repeat(b"%x\r\n%s\r\n" % (size, bytes(size)), count), [b"0\r\n\r\n"])
    if packet:
        sent = b"".join(wire)
        wire = [sent[start : start + packet] for start in range(0, len(sent), packet)]
    environ = EnvironBuilder(method="POST").get_environ() | {"HTTP_TRANSFER_ENCODING": "chunked"}
    environ["wsgi.input"] = Body(ChunkedReader(SimpleNamespace(), IterUnreader(iter(wire))))
    return flask.Request(environ)


@pytest.mark.parametrize("size", [1, 200, 600])
def test_small_chunks_are_refused_on_a_machine_that_reads_them_in_no_time(
    monkeypatch: pytest.MonkeyPatch, size: int
):
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)
    with pytest.raises(RequestError, match="too many pieces"):
        bodies.read(chunked(size, 10_000), READERS)


@pytest.mark.parametrize("size", [1200, 65_536])
def test_chunks_as_large_as_packets_are_read(size: int):
    assert len(bodies.read(chunked(size, 2000), READERS)) == size * 2000


def test_chunks_that_come_in_packets_of_the_internet_are_read():
    assert len(bodies.read(chunked(4096, 5000, packet=1220), READERS)) == 4096 * 5000


def test_a_few_chunks_are_read_however_small():
    assert bodies.read(chunked(1, 900), READERS) == bytes(900)


def test_a_long_body_is_read_on_a_slow_machine(monkeypatch: pytest.MonkeyPatch):
    body = bytes(50_000_000)
    request = flask.Request(EnvironBuilder(method="POST", data=body).get_environ())
    stream = request.stream
    monkeypatch.setattr(time, "thread_time", lambda: stream.tell() / SLOW)
    assert bodies.read(request, READERS) == body
