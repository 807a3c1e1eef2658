"""A client's socket, whose slowness holds no thread for long."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import RequestTooSlow
from shared.http.pace import Pace

SENDING_SECONDS = 15.0  # for a client to take its answer


class PacedSocket(socket.socket):
    """A socket on which a thread waits for the body that it reads, at the body's pace, and for nothing else.

    The worker's loop has it non-blocking; a thread has it blocking, as gunicorn sets it.
    """

    unsent = b""  # of the answer: the worker's loop sends it on
    _pace: Pace | None = None

    @classmethod
    def of(cls, accepted: socket.socket) -> PacedSocket:
        return cls(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())

    @contextmanager
    def reading(self, pace: Pace) -> Iterator[None]:
        """Has this thread wait for bytes."""
        self._pace = pace
        try:
            yield
        finally:
            self._pace = None

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.getblocking():
            return super().recv(size, flags)
        if self._pace is None:
            raise TimeoutError("no thread waits for what nobody reads")
        self.settimeout(self._pace.seconds_left())
        try:
            return super().recv(size, flags)
        except TimeoutError as error:
            raise RequestTooSlow() from error

    def send(self, data: Any, flags: int = 0) -> int:
        self.sendall(data)
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Sends as much as the client takes at once, and keeps the rest: no answer is long."""
        self.unsent += data
        self.send_on()

    def send_on(self) -> None:
        timeout = self.gettimeout()
        self.settimeout(0.0)
        try:
            while self.unsent:
                self.unsent = self.unsent[super().send(self.unsent) :]
        except BlockingIOError:
            pass
        finally:
            self.settimeout(timeout)
