"""`python -m shared.http.server`: the functions' HTTP server, whose threads wait for no slow client.

gunicorn's threaded worker gives a connection to a thread when it is accepted, and there it waits. Here the
worker's own loop waits: for a request's head and the beginning of its body, and for the client to hang up.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import click
import flask
import functions_framework
from functions_framework._http import create_server
from gunicorn.workers.gthread import TConn, ThreadWorker

from shared import settings
from shared.errors import SettingsError
from shared.http import bodies, unreadable
from shared.runtime import shutdown
from shared.search.previews import AT_ONCE

MAX_HEAD = 128 * 1024  # bytes: the query string, and 100 headers of ordinary length
WAITING_SECONDS = 20.0  # for the head and the beginning of the body; idle connections end with it
LINGERING_SECONDS = 20.0  # for bytes that a client still sends after its answer
LINGERING_BYTES, LINGERING_PIECES = 256 * 1024 * 1024, 1000
# For the rest of a body, which holds a thread: so many seconds, and one more for so many bytes.
BODY_SECONDS, BYTES_PER_SECOND = 15.0, 64 * 1024
SENDING_SECONDS = 15.0  # for a client to take a part of the answer
KEEP_ALIVE = 5  # seconds

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n", re.IGNORECASE)
EXPECTS = re.compile(rb"\r\nexpect:", re.IGNORECASE)
TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class PacedSocket(socket.socket):
    """A socket that never waits for long while a thread uses it."""

    deadline: float | None = None  # for reading

    @classmethod
    def of(cls, accepted: socket.socket) -> PacedSocket:
        return cls(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())

    def setblocking(self, blocking: bool) -> None:
        self.settimeout(SENDING_SECONDS if blocking else 0.0)
        self.deadline = time.monotonic() + BODY_SECONDS if blocking else None

    def recv(self, size: int, flags: int = 0) -> bytes:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError("the request comes too slowly")
        data = super().recv(size, flags)
        if self.deadline is not None:
            self.deadline += len(data) / BYTES_PER_SECOND
        return data


class Request:
    """The part of a request that has come so far."""

    def __init__(self, beginning: bytes = b""):
        self.bytes = bytearray(beginning)
        self.wanted: int | None = None  # bytes until a thread takes it; None until the head is complete

    def add(self, data: bytes) -> None:
        searched = max(0, len(self.bytes) - len(HEAD_END))
        self.bytes += data
        if self.wanted is None and (end := self.bytes.find(HEAD_END, searched)) >= 0:
            head = bytes(self.bytes[: end + 2])
            length = LENGTH.search(head)
            # A client that expects to be asked for its body sends none before.
            body = int(length[1]) if length and not EXPECTS.search(head) else 0
            self.wanted = end + len(HEAD_END) + min(body, bodies.BUFFERED)

    @property
    def is_ready(self) -> bool:
        return self.wanted is not None and len(self.bytes) >= self.wanted

    @property
    def is_too_long(self) -> bool:
        return self.wanted is None and len(self.bytes) > MAX_HEAD


class Allowance:
    """For a body that nobody wants: many bytes, but few small pieces, of which each costs as much."""

    def __init__(self) -> None:
        self.bytes, self.pieces = LINGERING_BYTES, LINGERING_PIECES

    def covers(self, data: bytes) -> bool:
        self.bytes -= len(data)
        self.pieces += len(data) // 4096 - 1
        return self.bytes > 0 and self.pieces > 0


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, whose threads only get requests that are there."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._waiting: deque[tuple[float, TConn]] = deque()  # each list by deadline: its seconds are the same
        self._lingering: deque[tuple[float, TConn]] = deque()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """THREADS, and those that previews may hold: they wait for each other, and for Storage."""
        return ThreadPoolExecutor(self.cfg.threads + AT_ONCE)

    def accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections and self._waiting:
            self._drop(self._waiting[0][1], self._waiting)  # the longest wait makes room
        self._wait(TConn(self.cfg, PacedSocket.of(client), address, listener.getsockname()))

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """The next request on a connection that was kept."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._wait(conn)

    def _wait(self, conn: TConn, beginning: bytes = b"") -> None:
        request = Request()
        request.add(beginning)
        conn.sock.setblocking(False)
        self._register(conn, self._waiting, WAITING_SECONDS, partial(self._receive, conn, request))
        if request.is_ready:
            self._hand_over(conn, request)

    def _receive(self, conn: TConn, request: Request, _client: socket.socket) -> None:
        data = _received(conn.sock)
        if data is None:
            return
        request.add(data)
        if not data:
            self._drop(conn, self._waiting)
        elif request.is_ready:
            self._hand_over(conn, request)
        elif request.is_too_long:
            self._unregister(conn, self._waiting)
            with contextlib.suppress(OSError):
                conn.sock.send(TOO_LONG)
            self._linger(conn)

    def _hand_over(self, conn: TConn, request: Request) -> None:
        self._unregister(conn, self._waiting)
        conn.init()
        conn.parser.unreader.unread(bytes(request.bytes))
        super().enqueue_req(conn)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Without gunicorn's wait for the part of the body that the function left unread."""
        return keepalive and bool(conn.parser.finish_body(deadline=time.monotonic() + 0.05))

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """gunicorn would log the request and tell it back, however long, tokens included."""
        with contextlib.suppress(OSError):
            client.sendall(unreadable.answer(exc))

    def finish_request(self, conn: TConn, future: Any) -> None:
        """Called in the loop, which gunicorn would have wait for a client to hang up."""
        is_kept = not future.cancelled() and future.exception() is None and future.result() and self.alive
        if not is_kept:
            self._linger(conn)
        elif left := conn.parser.unreader.take_buffered():
            self._wait(conn, left)
        else:
            super().finish_request(conn, future)

    def _linger(self, conn: TConn) -> None:
        """Takes the rest, so that the client reads its answer instead of a reset (RFC 9112, 9.6)."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it is gone
            self._close(conn)
            return
        self._register(
            conn,
            self._lingering,
            LINGERING_SECONDS,
            partial(self._discard, conn, Allowance()),
        )

    def _discard(self, conn: TConn, allowance: Allowance, _client: socket.socket) -> None:
        data = _received(conn.sock)
        if data is not None and not (data and allowance.covers(data)):
            self._drop(conn, self._lingering)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """The platform sent SIGTERM, and kills in 10 s: leases are given back."""
        super().handle_exit(sig, frame)
        shutdown.requested.set()

    def murder_pending(self) -> None:
        """Called at least once a second. At the end nobody is waited for who has waited for a second."""
        now = time.monotonic() + (0.0 if self.alive else WAITING_SECONDS - 1)
        for connections in (self._waiting, self._lingering):
            while connections and connections[0][0] <= now:
                self._drop(connections[0][1], connections)

    def _register(
        self,
        conn: TConn,
        connections: deque[tuple[float, TConn]],
        seconds: float,
        callback: Callable[[socket.socket], None],
    ) -> None:
        connections.append((time.monotonic() + seconds, conn))
        self.poller.register(conn.sock, selectors.EVENT_READ, callback)

    def _unregister(self, conn: TConn, connections: deque[tuple[float, TConn]]) -> None:
        self.poller.unregister(conn.sock)
        connections.remove(next(one for one in connections if one[1] is conn))

    def _drop(self, conn: TConn, connections: deque[tuple[float, TConn]]) -> None:
        self._unregister(conn, connections)
        self._close(conn)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()


def _received(connection: socket.socket) -> bytes | None:
    """The bytes that have come: none where the client is gone, None after a false alarm."""
    try:
        return connection.recv(bodies.PIECE)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def serve(app: flask.Flask, host: str, port: int) -> None:
    """Until SIGTERM; WORKERS and THREADS count as with functions-framework."""
    options = {"worker_class": Worker, "keepalive": KEEP_ALIVE, "control_socket_disable": True}
    server = create_server(app, False, **options)  # type: ignore[no-untyped-call]
    server.run(host, port)


@click.command()
@click.option("--target", envvar="FUNCTION_TARGET", required=True)
@click.option("--source", envvar="FUNCTION_SOURCE", required=True)
@click.option("--host", envvar="HOST", default="0.0.0.0")
@click.option("--port", envvar="PORT", type=int, default=8080)
def main(target: str, source: str, host: str, port: int) -> None:
    """Serve a function, as the command functions-framework does; not with settings that make no sense."""
    try:
        settings.load(for_callers=target == "query")
    except SettingsError as error:
        sys.exit(f"error: {error}")
    app = functions_framework.create_app(target, source)  # type: ignore[no-untyped-call]
    serve(app, host, port)


if __name__ == "__main__":
    main()
