"""A way by TCP to another socket, connection by connection."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CHUNK = 65536  # bytes
POLL_SECONDS = 0.05

Connect = Callable[[], socket.socket]


class _Relay(socketserver.BaseRequestHandler):
    """Passes a connection's bytes on, both ways."""

    server: _Relays

    def handle(self) -> None:
        try:
            upstream = self.server.connect()
        except OSError:  # such as of a process killed just now: the caller finds the connection closed
            return
        with upstream:
            back = threading.Thread(target=_copy, args=(upstream, self.request))
            back.start()
            _copy(self.request, upstream)
            back.join()


class _Relays(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, host: str, connect: Connect):
        self.connect = connect
        super().__init__((host, 0), _Relay)


@contextmanager
def relay(host: str, connect: Connect) -> Iterator[int]:
    """The port at `host` that leads to the socket which `connect` opens for each connection."""
    with _Relays(host, connect) as relays:
        thread = threading.Thread(target=relays.serve_forever, args=(POLL_SECONDS,))
        thread.start()
        try:
            yield int(relays.server_address[1])
        finally:
            relays.shutdown()
            thread.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one end is gone: so is the other's use
        for end in (source, sink):
            end.close()
