"""Network namespaces: each is a machine of its own, which reaches one port of this one and nothing else."""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

CHUNK = 65536  # bytes


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """`command` before another runs it inside, where the project is found at `url`."""

    command: tuple[str, ...]
    url: str


class _Relay(socketserver.BaseRequestHandler):
    """Passes a connection's bytes on, both ways."""

    server: _Relays

    def handle(self) -> None:
        try:
            upstream = socket.create_connection(self.server.target)
        except OSError:  # killed just now: whoever called finds the connection closed
            return
        with upstream:
            back = threading.Thread(target=_copy, args=(upstream, self.request))
            back.start()
            _copy(self.request, upstream)
            back.join()


class _Relays(socketserver.ThreadingTCPServer):
    daemon_threads = True
    target: tuple[str, int]


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one end is gone: so is the other's use
        for end in (source, sink):
            end.close()


@contextmanager
def namespace(number: int, url: str) -> Iterator[Namespace]:
    """Made for the block, for root on Linux. OSError or CalledProcessError where that isn't allowed.

    It has a network of four addresses of 198.18.0.0/15, which are kept for tests (RFC 2544).
    """
    name = f"soak{os.getpid()}n{number}"
    here, there = f"198.18.{number}.1", f"198.18.{number}.2"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}g", "netns", name)
        _ip("addr", "add", f"{here}/30", "dev", f"{name}h")
        _ip("link", "set", f"{name}h", "up")
        _ip("-n", name, "addr", "add", f"{there}/30", "dev", f"{name}g")
        _ip("-n", name, "link", "set", f"{name}g", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        with _relay(here, url) as port:
            yield Namespace(command=("ip", "netns", "exec", name), url=f"http://{here}:{port}")
    finally:
        _ip("netns", "del", name)  # the pair of devices goes with it


@contextmanager
def _relay(address: str, url: str) -> Iterator[int]:
    """The port at `address` that leads to `url`'s."""
    target = urlsplit(url)
    with _Relays((address, 0), _Relay) as relays:
        relays.target = (target.hostname or "", target.port or 80)
        thread = threading.Thread(target=relays.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(relays.server_address[1])
        finally:
            relays.shutdown()
            thread.join()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
