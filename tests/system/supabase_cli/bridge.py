"""A way by TCP to a PostgreSQL that listens on a unix socket alone."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from local.postgres import SOCKET, Cluster


class Bridge(socketserver.BaseRequestHandler):
    """One connection by TCP, passed on to a unix socket."""

    server: BridgeServer

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as database:
            database.connect(self.server.target)
            answers = threading.Thread(target=pump, args=(database, self.request))
            answers.start()
            pump(self.request, database)
            answers.join()


class BridgeServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, target: str):
        self.target = target
        super().__init__(("127.0.0.1", 0), Bridge)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def bridge(cluster: Cluster) -> Iterator[int]:
    """The port on this machine where the cluster can be reached for as long as the block lasts."""
    ((folder,),) = parse_qs(urlsplit(cluster.url("postgres")).query).values()
    with BridgeServer(f"{folder}/{SOCKET}") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
