"""A client's socket, whose slowness holds no thread for long."""

from __future__ import annotations

import socket
import time
from typing import Any

# For the rest of a body, which holds a thread: so many seconds, and one more for so many bytes.
BODY_SECONDS, BYTES_PER_SECOND = 15.0, 64 * 1024
SENDING_SECONDS = 15.0  # for a client to take its answer


class PacedSocket(socket.socket):
    """A socket that waits for bytes not for long while a thread uses it, and not at all to send some."""

    deadline: float | None = None  # for reading
    unsent = b""  # of the answer: the worker's loop sends it on

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

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Sends as much as the client takes at once, and keeps the rest: no answer is long."""
        self.unsent += data
        self.send_on()

    def send_on(self) -> None:
        timeout = self.gettimeout()
        self.settimeout(0.0)
        try:
            while self.unsent:
                self.unsent = self.unsent[self.send(self.unsent) :]
        except BlockingIOError:
            pass
        finally:
            self.settimeout(timeout)
