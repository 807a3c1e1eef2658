"""The quarantine for decoding: an image that kills, hangs or bloats its decoder costs only itself.

Each decoder is a process of its own behind a socket, and not one of a pool library (multiprocessing, pebble):
those import the server's main module anew in each child, and unpickle the answer that a hostile file made.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence

from shared import images
from shared.errors import NeuralSearchError
from shared.images import DecodedImage
from shared.images.sandbox.budget import Budget
from shared.images.sandbox.child import Limits
from shared.images.sandbox.process import Decoder
from shared.runtime import disconnect, logs
from shared.settings import Settings

MOST = 4  # processes; with more of them, a server would wait for its model
PATIENCE = 3  # seconds that may pass for each of the CPU
LEAST_ELAPSED = 30.0  # seconds that may pass at least
OnReplaced = Callable[[NeuralSearchError], None]


class DecoderPool:
    """Decodes in a few processes. Any thread may call it; a call waits for a free process.

    `seconds` bound one image's CPU time, `elapsed` its time in all (by default three times that); `memory`
    bounds a process, in bytes. `on_replaced` hears the cause of each replacement.
    """

    def __init__(
        self,
        *,
        processes: int,
        seconds: float,
        elapsed: float | None = None,
        memory: int,
        max_bytes: int,
        max_pixels: int,
        on_replaced: OnReplaced | None = None,
    ):
        self._max_bytes = max_bytes
        self._seconds = seconds
        on_replaced = on_replaced or _log
        limits = Limits(
            seconds=seconds,
            elapsed=elapsed or max(PATIENCE * seconds, LEAST_ELAPSED),
            memory=memory,
            max_bytes=max_bytes,
            max_pixels=max_pixels,
        )
        self._decoders = [Decoder(limits, on_replaced) for _ in range(processes)]
        self._free = [*self._decoders]  # the last one used at the end
        self._taking, self._lock = threading.Semaphore(processes), threading.Lock()
        self._close = weakref.finalize(self, _close, self._decoders)

    def start(self) -> None:
        """Starts the processes without waiting for them."""
        for decoder in self._decoders:
            decoder.start()

    def decode(self, data: bytes, *, min_side: int | None, budget: Budget | None = None) -> DecodedImage:
        """As `images.decode`; also raises DecodingTimedOut, DecoderCrashed and DecodingOutOfMemory.

        DecoderUnavailable where no process can be started, and DecoderStalled where one was kept waiting,
        are no fault of the image; nor is ClientClosedRequest. `budget` is one request's, which several calls
        may share.
        """
        images.check_bytes(data, self._max_bytes)
        budget = budget or Budget(seconds=self._seconds)
        decoder = self._next(budget)
        try:
            return decoder.decode(data, min_side, budget)
        finally:
            self._free.append(decoder)
            self._taking.release()

    def _next(self, budget: Budget) -> Decoder:
        """The last one used, as its memory is warm, of those that needn't start first."""
        budget.check()
        while not self._taking.acquire(timeout=disconnect.LOOK_SECONDS):
            budget.check()
        with self._lock:
            started = (decoder for decoder in reversed(self._free) if decoder.is_started)
            decoder = next(started, self._free[-1])
            self._free.remove(decoder)
            return decoder

    def close(self) -> None:
        """Ends the processes; images in work fail with DecoderUnavailable."""
        self._close()

    @property
    def pids(self) -> list[int]:
        """The running processes' ids."""
        return [pid for decoder in self._decoders if (pid := decoder.pid)]


def start(configuration: Settings, on_replaced: OnReplaced | None = None, *, most: int = MOST) -> DecoderPool:
    """As many decoders as this machine has use for, importing while the caller does something else."""
    decoders = DecoderPool(
        processes=min(os.cpu_count() or 1, most),
        seconds=configuration.max_decode_seconds,
        memory=configuration.max_decode_memory,
        max_bytes=configuration.max_image_bytes,
        max_pixels=configuration.max_image_pixels,
        on_replaced=on_replaced,
    )
    decoders.start()
    return decoders


def _log(cause: NeuralSearchError) -> None:
    logs.write("decoder replaced", severity="WARNING", error=cause)


def _close(decoders: Sequence[Decoder]) -> None:
    for decoder in decoders:
        decoder.close()
