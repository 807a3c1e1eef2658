"""A thread waits for a client while it reads its body, at the body's pace, and for nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from shared.errors import RequestTooSlow
from shared.http import pace
from shared.http.pace import Pace
from shared.http.paced_socket import PacedSocket

Ends = tuple[PacedSocket, socket.socket]
ENOUGH = 5.0  # seconds: less than any wait
LONG = bytes(10_000_000)  # more than the system keeps for a client that takes none


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A thread's end of a connection, and its client's."""
    ours, theirs = socket.socketpair()
    with PacedSocket.of(ours) as thread, theirs:
        thread.setblocking(True)
        yield thread, theirs


def test_a_thread_takes_no_bytes_but_of_the_body_that_it_reads(ends: Ends):
    thread, client = ends
    client.sendall(b"a")
    with pytest.raises(TimeoutError):
        thread.recv(100)
    with thread.reading(Pace()):
        assert thread.recv(100) == b"a"


def test_a_body_has_no_more_time_for_its_last_bytes(ends: Ends, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pace, "SECONDS", 0.5)
    thread, client = ends
    client.sendall(b"a")
    began = time.monotonic()
    with thread.reading(Pace()), pytest.raises(RequestTooSlow):
        thread.recv(100)
        time.sleep(0.4)
        thread.recv(100)
    assert time.monotonic() < began + ENOUGH


def test_a_thread_waits_for_no_client_to_take_what_it_sends(ends: Ends):
    thread, client = ends
    began = time.monotonic()
    assert thread.send(LONG) + thread.send(b"b") == len(LONG) + 1
    assert time.monotonic() < began + ENOUGH
    taken = 0
    while thread.unsent:
        taken += len(client.recv(len(LONG)))
        thread.send_on()
    thread.close()
    assert taken + len(client.makefile("rb").read()) == len(LONG) + 1
