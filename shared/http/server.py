"""`python -m shared.http.server`: the functions' HTTP server, whose threads wait for no slow client.

gunicorn's threaded worker gives a connection to a thread when it is accepted, and there it waits. Here the
worker's own loop waits: for a request's head and the beginning of its body, and for the client to hang up.
"""

from __future__ import annotations

import contextlib
import math
import resource
import selectors
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import click
import flask
import functions_framework
from functions_framework._http import create_server
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from shared import settings
from shared.errors import NeuralSearchError
from shared.http import bodies, handlers, unreadable
from shared.http.arriving_request import Allowance, ArrivingRequest
from shared.http.paced_socket import SENDING_SECONDS, PacedSocket
from shared.runtime import privileges, shutdown
from shared.search.previews import AT_ONCE, RUNNING

ABANDONED = handlers.CALLERS_AT_WORK + RUNNING  # requests that may end a step beside all others
WAITING_SECONDS = 20.0  # for the head and the beginning of the body; idle connections end with it
LINGERING_SECONDS = 20.0  # for bytes that a client still sends after its answer
SENDING = 64  # answers that clients are slow to take; their oldest makes room: each may have 2 MB
# Once the process is to end, which the platform leaves 10 s: for answers, and for the others.
LAST_SENDING_SECONDS, ENDING_SECONDS = 5.0, 1.0
KEEP_ALIVE = 5  # seconds
CONNECTIONS, FEWEST, SPARE_FILES = 1000, 50, 200  # at most and at least; the last open beside connections
PAUSE = 0.05  # seconds, until a thread may have done with a connection

Connections = dict[TConn, float]  # and since when (monotonic seconds), in this order


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, whose threads only get requests that are there."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._waiting: Connections = {}
        self._lingering: Connections = {}
        self._sending: Connections = {}
        self._patience = (
            (self._lingering, LINGERING_SECONDS, ENDING_SECONDS),
            (self._waiting, WAITING_SECONDS, ENDING_SECONDS),
            (self._sending, SENDING_SECONDS, LAST_SENDING_SECONDS),
        )
        self._ending = math.inf  # since when, as with connections

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """THREADS, and those for requests that wait for each other, Storage and the database, and for those
        that have been hung up on and end their step."""
        return ThreadPoolExecutor(self.cfg.threads + handlers.CALLERS + AT_ONCE + ABANDONED)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """gunicorn would also call back for connections that an earlier call of the same batch has ended."""
        for key, _ in self.poller.select(timeout):
            if self.poller.get_map().get(key.fd) is key:  # not another with the same descriptor
                key.data(key.fileobj)

    def accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no file is left for it
            if not self._make_room():
                time.sleep(PAUSE)
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        self._wait(TConn(self.cfg, PacedSocket.of(client), address, listener.getsockname()))

    def _make_room(self) -> bool:
        """Ends a connection that has its answer, or else the longest wait; False where threads have all."""
        if self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
            self.poller.unregister(conn.sock)
            self._close(conn)
            return True
        for connections, *_ in self._patience:
            if connections:
                self._drop(next(iter(connections)), connections)
                return True
        return False

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """The next request on a connection that was kept."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._wait(conn)

    def _wait(self, conn: TConn, beginning: bytes = b"") -> None:
        request = ArrivingRequest()
        request.add(beginning)
        conn.sock.setblocking(False)
        self._register(conn, self._waiting, partial(self._receive, conn, request))
        if request.is_ready:
            self._hand_over(conn, request)

    def _receive(self, conn: TConn, request: ArrivingRequest, _client: socket.socket) -> None:
        data = _received(conn.sock)
        if data is None:
            return
        request.add(data)
        if not (data and request.allowance.covers(data)):
            self._drop(conn, self._waiting)
        elif request.is_ready:
            self._hand_over(conn, request)
        elif request.is_too_long:
            self._unregister(conn, self._waiting)
            with contextlib.suppress(OSError):
                conn.sock.send(unreadable.too_long())
            self._linger(conn)

    def _hand_over(self, conn: TConn, request: ArrivingRequest) -> None:
        self._unregister(conn, self._waiting)
        conn.init()
        conn.parser.unreader.unread(bytes(request.bytes))
        super().enqueue_req(conn)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Not where the body that the function left unread can't be: its request is answered already."""
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except ParseException:
            return False

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """gunicorn would log the request and tell it back, however long, tokens included."""
        with contextlib.suppress(OSError):
            client.sendall(unreadable.answer(exc))

    def finish_request(self, conn: TConn, future: Any) -> None:
        """Called in the loop, which gunicorn would have wait for a client to hang up."""
        if conn.sock.unsent:
            self._register(conn, self._sending, partial(self._send, conn, future), selectors.EVENT_WRITE)
            if len(self._sending) > SENDING:
                self._drop(next(iter(self._sending)), self._sending)
            return
        is_kept = not future.cancelled() and future.exception() is None and future.result() and self.alive
        if not is_kept:
            self._linger(conn)
        elif left := conn.parser.unreader.take_buffered():
            self._wait(conn, left)
        else:
            super().finish_request(conn, future)

    def _send(self, conn: TConn, future: Any, _client: socket.socket) -> None:
        try:
            conn.sock.send_on()
        except OSError:  # it is gone
            self._drop(conn, self._sending)
            return
        if not conn.sock.unsent:
            self._unregister(conn, self._sending)
            self.finish_request(conn, future)

    def _linger(self, conn: TConn) -> None:
        """Takes the rest, so that the client reads its answer instead of a reset (RFC 9112, 9.6)."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it is gone
            self._close(conn)
            return
        self._register(conn, self._lingering, partial(self._discard, conn, Allowance()))

    def _discard(self, conn: TConn, allowance: Allowance, _client: socket.socket) -> None:
        data = _received(conn.sock)
        if data is not None and not (data and allowance.covers(data)):
            self._drop(conn, self._lingering)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """The platform sent SIGTERM, and kills in 10 s: leases are given back."""
        super().handle_exit(sig, frame)
        self._ending = min(self._ending, time.monotonic())
        shutdown.requested.set()

    def murder_pending(self) -> None:
        """Called at least once a second."""
        now = time.monotonic()
        for connections, seconds, last_seconds in self._patience:
            while connections:
                conn, since = next(iter(connections.items()))
                if now < min(since + seconds, max(since, self._ending) + last_seconds):
                    break
                self._drop(conn, connections)

    def _register(
        self,
        conn: TConn,
        connections: Connections,
        callback: Callable[[socket.socket], None],
        event: int = selectors.EVENT_READ,
    ) -> None:
        connections[conn] = time.monotonic()
        self.poller.register(conn.sock, event, callback)

    def _unregister(self, conn: TConn, connections: Connections) -> None:
        self.poller.unregister(conn.sock)
        del connections[conn]

    def _drop(self, conn: TConn, connections: Connections) -> None:
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


def _open_files() -> int:
    """How many files this process may have open, raised as far as connections need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def serve(app: flask.Flask, host: str, port: int, descriptor: int | None = None) -> None:
    """Until SIGTERM, at an inherited `descriptor` where there is one; WORKERS and THREADS count as with
    functions-framework."""
    files = _open_files()
    if files < SPARE_FILES + FEWEST:
        sys.exit(f"error: {files} files may be open. Expected {SPARE_FILES + FEWEST}: raise `ulimit -n`.")
    options = {
        "worker_class": Worker,
        "worker_connections": min(CONNECTIONS, files - SPARE_FILES),
        "keepalive": KEEP_ALIVE,
        "control_socket_disable": True,
        "forwarder_headers": "",
    } | ({} if descriptor is None else {"bind": f"fd://{descriptor}"})
    server = create_server(app, False, **options)  # type: ignore[no-untyped-call]
    server.run(host, port)


@click.command()
@click.option("--target", envvar="FUNCTION_TARGET", required=True)
@click.option("--source", envvar="FUNCTION_SOURCE", required=True)
@click.option("--host", envvar="HOST", default="0.0.0.0")
@click.option("--port", envvar="PORT", type=click.IntRange(0, 65535), default=8080)
@click.option("--socket", "descriptor", type=int, help="An inherited descriptor, in place of host and port.")
def main(target: str, source: str, host: str, port: int, descriptor: int | None) -> None:
    """Serve a function, as the command functions-framework does; not with settings that make no sense."""
    try:
        settings.require_counts("WORKERS", "THREADS")
        if target == "query":
            settings.require_unnamed("secret_key", "user_token", "database_url")
        settings.load(for_callers=target == "query")
    except NeuralSearchError as error:
        sys.exit(f"error: {error}")
    privileges.hide()  # from decoders: the processes that this one forks start them
    app = functions_framework.create_app(target, source)  # type: ignore[no-untyped-call]
    serve(app, host, port, descriptor)


if __name__ == "__main__":
    main()
