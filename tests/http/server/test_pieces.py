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
from werkzeug.exceptions import ClientDisconnected
from werkzeug.test import EnvironBuilder

from shared.errors import RequestError
from shared.http import bodies, handlers
from shared.runtime.limiter import ConcurrencyLimiter

READERS = ConcurrencyLimiter(running=1, waiting=0)
SLOW = 100_000_000  # bytes that a slow CPU reads in a second


def chunked(size: int, count: int, packet: int | None = None) -> flask.Request:
    """A request of so many chunks, each of so many bytes, that come one by one or in packets."""
    wire: Iterable[bytes] = chain(repeat(b"%x\r\n%s\r\n" % (size, bytes(size)), count), [b"0\r\n\r\n"])
    if packet:
        sent = b"".join(wire)
        wire = [sent[start : start + packet] for start in range(0, len(sent), packet)]
    return on_the_wire(wire)


def on_the_wire(wire: Iterable[bytes]) -> flask.Request:
    environ = EnvironBuilder(method="POST").get_environ() | {"HTTP_TRANSFER_ENCODING": "chunked"}
    environ["wsgi.input"] = Body(ChunkedReader(SimpleNamespace(), IterUnreader(iter(wire))))
    return flask.Request(environ)


def announced(size: int, sent: int) -> flask.Request:
    environ = EnvironBuilder(method="POST", data=bytes(sent)).get_environ()
    return flask.Request(environ | {"CONTENT_LENGTH": str(size)})


BROKEN_OFF = {
    "in a chunk": on_the_wire([b"5\r\nhe"]),
    "in a chunk's size": on_the_wire([b"5"]),
    "before the last chunk": on_the_wire([b"5\r\nhello\r\n"]),
    "in a body of a stated length": announced(70_000, sent=69_000),
}


@pytest.mark.parametrize("request_", BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_a_body_is_the_callers_fault_that_breaks_off(request_: flask.Request):
    with pytest.raises((RequestError, ClientDisconnected)) as raised:
        bodies.read(request_, READERS)
    assert handlers.known(raised.value).status == 400


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
