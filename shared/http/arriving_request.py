"""A request that has come in part: whether enough of it is there for a thread."""

from __future__ import annotations

import re

from shared.http import bodies

MAX_HEAD = 128 * 1024  # bytes: the query string, and 100 headers of ordinary length
MAX_BYTES, MAX_PIECES = 256 * 1024 * 1024, 1000

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*0*(\d{1,15})[ \t]*\r\n", re.IGNORECASE)
EXPECTS = re.compile(rb"\r\nexpect:", re.IGNORECASE)


class ArrivingRequest:
    """The part of a request that has come so far."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.allowance = Allowance()
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
    """A connection's claim on the loop: many bytes, but few small pieces, of which each costs as much."""

    def __init__(self) -> None:
        self.bytes, self.pieces = MAX_BYTES, MAX_PIECES

    def covers(self, data: bytes) -> bool:
        self.bytes -= len(data)
        self.pieces += len(data) // 4096 - 1
        return self.bytes > 0 and self.pieces > 0
