"""A server whose answer never comes to its end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat

DRIPPING_SECONDS = 5  # then the server gives up, which is no success

Gateway = Callable[[Iterator[bytes], float], str]


def dripping_server() -> Iterator[Gateway]:
    """A fixture: starts one that answers a request with these bytes, with so many seconds before each part.

    Returns its address.
    """
    over = threading.Event()
    threads: list[threading.Thread] = []

    def start(parts: Iterator[bytes], pause: float) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        threads.append(threading.Thread(target=_answer, args=(server, parts, pause, over)))
        threads[-1].start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield start
    over.set()
    for thread in threads:
        thread.join()


def _answer(server: socket.socket, parts: Iterator[bytes], pause: float, over: threading.Event) -> None:
    until = time.monotonic() + DRIPPING_SECONDS
    server.settimeout(DRIPPING_SECONDS)
    with server, suppress(OSError), server.accept()[0] as connection:
        connection.recv(65536)
        for part in parts:
            if over.wait(pause) or time.monotonic() > until:
                return
            connection.sendall(part)


def slowly(beginning: bytes, rest: bytes) -> Iterator[bytes]:
    yield beginning
    yield from repeat(rest)
