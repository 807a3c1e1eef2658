"""How fast the rest of a body must come, and how cheaply: a thread waits for it."""

from __future__ import annotations

import time

from shared.errors import RequestError, RequestTooSlow

# So many seconds, and one more for so many bytes.
SECONDS, BYTES_PER_SECOND = 15.0, 64 * 1024
# So many pieces, and one more for so many bytes; CPU seconds likewise. A chunk in several packets is as many
# pieces, of 1,200 bytes or more. Chunks of one byte cost a second for each 200,000, honest ones for each 500
# million, on slow machines several.
PIECES, BYTES_PER_PIECE = 1000, 768
CPU_SECONDS, BYTES_PER_CPU_SECOND = 0.1, 50_000_000


class Pace:
    """Of one body, by its bytes: neither chunks' sizes and extensions nor trailers win it time.

    Asked before each wait for bytes and after each piece, by the thread that reads.
    """

    def __init__(self) -> None:
        self.size = self._pieces = 0
        self._began, self._cpu_began = time.monotonic(), time.thread_time()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self._pieces += 1
        self._check_cost()

    def seconds_left(self) -> float:
        """For the next bytes; RequestTooSlow where none are left, RequestError where it is too dear."""
        self._check_cost()
        left = self._began + SECONDS + self.size / BYTES_PER_SECOND - time.monotonic()
        if left <= 0:
            raise RequestTooSlow()
        return left

    def _check_cost(self) -> None:
        too_many = self._pieces > PIECES + self.size // BYTES_PER_PIECE
        cpu_seconds = time.thread_time() - self._cpu_began
        if too_many or cpu_seconds > CPU_SECONDS + self.size / BYTES_PER_CPU_SECOND:
            raise RequestError("The body comes in too many pieces. Send it with a Content-Length.")
