"""Messages between two processes over a stream socket: a small JSON header and raw bytes, never a pickle."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

PREFIX = struct.Struct(">IQ")  # the lengths of header and body
MAX_HEADER = 64 * 1024


class MessageError(Exception):
    """The bytes from the socket are no message."""


def send(
    connection: socket.socket, header: dict[str, Any], body: bytes = b"", *, deadline: float | None = None
) -> None:
    """Sends one message. TimeoutError once `deadline` (of time.monotonic) has passed."""
    text = json.dumps(header).encode()
    for part in (PREFIX.pack(len(text), len(body)) + text, body):
        if part:
            _limit(connection, deadline)
            connection.sendall(part)


def receive(
    connection: socket.socket, *, max_body: int, deadline: float | None = None
) -> tuple[dict[str, Any], bytearray]:
    """The next message: its header and its body of at most `max_body` bytes.

    EOFError where the other side is gone, MessageError where it talks nonsense, TimeoutError once
    `deadline` has passed.
    """
    header_length, body_length = PREFIX.unpack(_read(connection, PREFIX.size, deadline))
    if header_length > MAX_HEADER or body_length > max_body:
        raise MessageError(
            f"A message of {header_length} + {body_length} bytes, at most {max_body} expected."
        )
    try:
        header = json.loads(_read(connection, header_length, deadline))
    except ValueError as error:
        raise MessageError(f"The header is no JSON: {error}.") from error
    if not isinstance(header, dict):
        raise MessageError(f"The header is {type(header).__name__}, not an object.")
    return header, _read(connection, body_length, deadline)


def _read(connection: socket.socket, length: int, deadline: float | None) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        _limit(connection, deadline)
        count = connection.recv_into(view)
        if not count:
            raise EOFError("The other process has closed the connection.")
        view = view[count:]
    return data


def _limit(connection: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        return
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("The other process took too long.")
    connection.settimeout(seconds)
