"""The process that decodes other people's bytes: started by `shared/images/sandbox/process.py`, with limits
and no secrets.

It must stay light, since several of them run beside each server, and it must not outlive its parent: it ends
when the connection does, and by the kernel's hand when one image keeps it too long. Bytes that take it over
find no secrets, and where the kernel has Landlock no way to other processes, programs or the network's TCP.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from shared import images
from shared.errors import BrokenImage, DecodingOutOfMemory, ImageError
from shared.images.sandbox import answers, messages
from shared.runtime import privileges

# The most that a codec was seen to take: WebP's, 1.58 GB for 99 megapixels. AVIF took 0.9, the others less.
BYTES_PER_PIXEL = 16
BYTES_PER_ROW = 64  # pointers to it, here and in the codec, and waste by alignment
OUT_OF_MEMORY = 77  # exit status
NICENESS = 5  # above the server's, which answers first; a third of its part of a busy core
GRACE = 2  # seconds for the parent to end this process, before the kernel does: it may be gone


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A decoder's limits for one image."""

    seconds: float  # of the CPU
    elapsed: float  # seconds until the answer is there: more, since on a busy machine honest images wait
    memory: int  # bytes of the whole process
    max_bytes: int  # of the file
    max_pixels: int


def main() -> None:
    """Decodes files from a socket (its number is the first argument) within limits (the second)."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    limits = Limits(**json.loads(sys.argv[2]))
    _confine(limits.memory)
    _silence_codecs()
    privileges.confine()
    Image.MAX_IMAGE_PIXELS = None  # our limit counts, and it may be higher than Pillow's
    gc.freeze()  # all that is there by now stays
    with suppress(EOFError, ConnectionError):
        messages.send(connection, {"ready": True})
        while True:
            _serve(connection, limits)


def _confine(memory: int) -> None:
    # The parent decides when this ends; Ctrl-C reaches the whole group, also in the middle of an image.
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, signal.SIG_IGN)
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # where the machine itself runs out of memory, this goes before the server does
        Path("/proc/self/oom_score_adj").write_text("1000")


def _serve(connection: socket.socket, limits: Limits) -> None:
    try:
        request, received = messages.receive(connection, max_body=limits.max_bytes)
        data = bytes(received)
    except MemoryError:  # not even the file fits in; the parent may still be sending it
        sys.exit(OUT_OF_MEMORY)
    del received
    began = time.process_time()
    header, body = _answer(data, request["min_side"], request["seconds"], limits)
    messages.send(connection, header | {"seconds": time.process_time() - began}, body)
    # An error may hold its image in a cycle, whose size the collector doesn't know: the next would lack it.
    gc.collect()


def _answer(
    data: bytes, min_side: int | None, seconds: float, limits: Limits
) -> tuple[dict[str, Any], bytes]:
    try:
        with _limited_time(seconds, limits.elapsed + GRACE):
            decoded = images.decode(
                data, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, min_side=min_side
            )
            return answers.pack(decoded)
    except (MemoryError, DecodingOutOfMemory):
        return answers.pack_error(out_of_memory(limits.memory))
    except BrokenImage as error:
        return answers.pack_error(_likelier(error, limits.memory))
    except ImageError as error:
        return answers.pack_error(error)


def _silence_codecs() -> None:
    # Pillow warns, and libtiff complains of each line of a damaged file, on stderr: the server's log.
    logging.disable()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)  # our own tracebacks still get there
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


@contextmanager
def _limited_time(seconds: float, elapsed: float) -> Iterator[None]:
    """Has the kernel end this process where the image takes longer: of the CPU's time, or in all."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, elapsed)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _likelier(error: BrokenImage, memory: int) -> ImageError:
    # Most codecs call a failed allocation a broken file. Where the image could have needed more memory than
    # there is, that is the likelier cause.
    width, height = error.value or (0, 0)
    needed = width * height * BYTES_PER_PIXEL + height * BYTES_PER_ROW
    return out_of_memory(memory) if needed > memory else error


def out_of_memory(memory: int) -> DecodingOutOfMemory:
    """The error that names the limit."""
    return DecodingOutOfMemory(
        f"Decoding the image takes more than {memory} bytes of memory. "
        "Upload a smaller one or raise MAX_DECODE_MEMORY."
    )


if __name__ == "__main__":
    main()
