"""One decoder: a process that decodes for its parent, replaced when it dies, hangs or takes too much."""

from __future__ import annotations

import json
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from shared import settings
from shared.errors import (
    ClientClosedRequest,
    DecoderCrashed,
    DecoderStalled,
    DecoderUnavailable,
    DecodingOutOfMemory,
    DecodingTimedOut,
    ImageError,
    NeuralSearchError,
)
from shared.images import DecodedImage
from shared.images.sandbox import answers, messages
from shared.images.sandbox.budget import SPENT, Budget
from shared.images.sandbox.child import OUT_OF_MEMORY, Limits, out_of_memory
from shared.runtime import disconnect

START_SECONDS = 60.0  # for importing Pillow on a machine that does much else
DYING_SECONDS = 5.0  # from a closed connection to the exit status
CLOSED = "The decoders have been closed, because this process is ending. Try again later."
SIGNALS = {one.value: one.name for one in signal.Signals}

# Few threads and no reserves: a decoder that waits should weigh little, and the system should get a large
# picture's memory back at once (mallopt(3)).
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 1024 * 1024),
}


class Decoder:
    """One process at a time, replaced when it dies. One thread uses it, any may close it."""

    def __init__(self, limits: Limits, on_replaced: Callable[[NeuralSearchError], None]):
        self._limits = limits
        self._on_replaced = on_replaced
        self._lock = threading.Lock()
        self._closed = False
        self._ready = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    @property
    def is_started(self) -> bool:
        """Whether it would begin at once. To be asked while nobody uses it; another thread may close it."""
        connection = self._connection
        if connection is None:
            return False
        try:
            return self._ready or _is_readable(connection, 0)
        except (OSError, ValueError):  # closed meanwhile
            return False

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process and process.returncode is None else None

    def start(self) -> None:
        """Starts the process without waiting for it."""
        with self._lock, suppress(DecoderUnavailable):  # the first image says so
            if not self._process:
                self._spawn()

    def decode(self, data: bytes, min_side: int | None, budget: Budget) -> DecodedImage:
        """As `DecoderPool.decode`."""
        with self._lock:
            connection = self._connected()
            budget.check()
            with self._replaced_if_it_fails(budget):
                return answers.unpack(*self._ask(connection, data, min_side, budget))

    def close(self) -> None:
        """Ends the process for good."""
        self._closed = True
        if process := self._process:
            process.kill()  # a caller that waits for its answer gets an error instead
        with self._lock:
            self._stop()

    def _ask(
        self, connection: socket.socket, data: bytes, min_side: int | None, budget: Budget
    ) -> tuple[dict[str, Any], bytearray]:
        deadline = time.monotonic() + self._limits.elapsed
        seconds = min(self._limits.seconds, budget.seconds)
        messages.send(connection, {"min_side": min_side, "seconds": seconds}, data, deadline=deadline)
        _await_answer(connection, deadline)
        header, body = messages.receive(connection, max_body=3 * self._limits.max_pixels, deadline=deadline)
        budget.spend(answers.seconds(header))
        return header, body

    @contextmanager
    def _replaced_if_it_fails(self, budget: Budget) -> Iterator[None]:
        try:
            yield
        except DecodingOutOfMemory as error:  # a codec that got no memory may be in any state
            self._stop()
            self._replace(error)
            raise
        except ImageError:
            raise
        except TimeoutError as error:
            self._stop()
            raise self._replace(self._stalled()) from error
        except (OSError, EOFError, messages.MessageError) as error:
            raise self._replace(self._failure(self._stop(DYING_SECONDS), budget)) from error
        except ClientClosedRequest:  # a half-read answer would be taken for the next image's
            self._stop()
            with suppress(DecoderUnavailable):  # the next image says so
                self._spawn()
            raise
        except BaseException:
            self._stop()
            raise

    def _replace(self, failure: NeuralSearchError) -> NeuralSearchError:
        """Starts another process after `failure`; returns the error to raise."""
        if self._closed:
            return DecoderUnavailable(CLOSED)
        self._on_replaced(failure)
        with suppress(DecoderUnavailable):  # the next image says so
            self._spawn()
        return failure

    def _failure(self, status: int, budget: Budget | None = None) -> NeuralSearchError:
        if -status == signal.SIGPROF:
            return self._too_long(budget)
        if -status == signal.SIGALRM:
            return self._stalled()
        if status == OUT_OF_MEMORY:
            return out_of_memory(self._limits.memory)
        ended = SIGNALS.get(-status, f"status {status}")
        return DecoderCrashed(
            f"The process that decoded this image ended with {ended}. Save the image anew and upload it "
            "again. SIGKILL can also mean that the machine is out of memory.",
            value=ended,
        )

    def _too_long(self, budget: Budget | None) -> DecodingTimedOut:
        if budget and budget.seconds < self._limits.seconds:
            budget.seconds = 0
            return DecodingTimedOut(SPENT)
        return DecodingTimedOut(
            f"Decoding took more than {self._limits.seconds:g} seconds of the CPU. "
            "Upload a smaller or simpler image, or raise MAX_DECODE_SECONDS."
        )

    def _stalled(self) -> DecoderStalled:
        return DecoderStalled(
            f"Decoding wasn't done after {self._limits.elapsed:g} seconds, although it had not used the "
            f"{self._limits.seconds:g} seconds of the CPU that it may. The machine may be busy: try again."
        )

    def _connected(self) -> socket.socket:
        """The connection to a process that is ready; DecoderUnavailable where there is none to be had."""
        if self._process and self._process.poll() is not None:
            self._on_replaced(self._failure(self._stop()))  # it died while it had nothing to do
        if not self._process:
            self._spawn()
        assert self._connection
        if not self._ready:
            self._await_start(self._connection)
        return self._connection

    def _await_start(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + START_SECONDS
        try:
            _await_answer(connection, deadline)
            messages.receive(connection, max_body=0, deadline=deadline)
        except ClientClosedRequest:  # it starts all the same, for the next image
            raise
        except (OSError, EOFError, messages.MessageError) as error:
            status = self._stop(DYING_SECONDS)
            raise DecoderUnavailable(
                f"A decoder process ended with status {status} before it was ready; its stderr may say why. "
                "Give this machine more memory, or raise MAX_DECODE_MEMORY."
            ) from error
        except BaseException:
            self._stop()
            raise
        self._ready = True

    def _spawn(self) -> None:
        if self._closed:
            raise DecoderUnavailable(CLOSED)
        mine, theirs = socket.socketpair()
        command = [sys.executable, "-W", "ignore", "-m", "shared.images.sandbox.child"]
        try:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), json.dumps(asdict(self._limits))],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=settings.bare_environment(ENVIRONMENT),
            )
        except OSError as error:
            mine.close()
            raise DecoderUnavailable(
                f"No decoder process can be started: {error}. Give this machine more memory or processes."
            ) from error
        finally:
            theirs.close()
        self._connection, self._ready = mine, False

    def _stop(self, patience: float = 0.0) -> int:
        """Ends the process, if it doesn't end by itself within `patience` seconds; its status."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection:
            connection.close()
        if not process:
            return 0
        with suppress(subprocess.TimeoutExpired):
            return process.wait(patience)
        process.kill()
        return process.wait()


def _await_answer(connection: socket.socket, deadline: float) -> None:
    """Returns when an answer begins. ClientClosedRequest as soon as nobody waits for it any more."""
    while not _is_readable(connection, disconnect.LOOK_SECONDS):
        if time.monotonic() > deadline:
            raise TimeoutError("The decoder took too long.")
        disconnect.check()


def _is_readable(connection: socket.socket, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(seconds))
