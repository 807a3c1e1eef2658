"""A server that takes a request's body slowly."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from support.waiting import PATIENCE

PIECE = 1024 * 1024  # bytes that it takes at a time


@contextmanager
def slow_taker(pause: float, answer: bytes = b"{}") -> Iterator[str]:
    """The address of one that takes one request, with so many seconds before each piece, and answers it."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_take, args=(server, pause, answer, over))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def _take(server: socket.socket, pause: float, answer: bytes, over: threading.Event) -> None:
    server.settimeout(PATIENCE)
    with suppress(OSError), server.accept()[0] as connection:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1024)
        head, _, body = head.partition(b"\r\n\r\n")
        found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        assert found
        left = int(found[1]) - len(body)
        while left > 0 and not over.wait(pause):
            data = connection.recv(min(PIECE, left), socket.MSG_WAITALL)
            if not data:
                return
            left -= len(data)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
