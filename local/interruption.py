"""Ctrl-C and SIGTERM, while the stack runs: both end it in order, and nothing breaks off the ending."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

Handlers = dict[signal.Signals, Any]
ENDING = (signal.SIGINT, signal.SIGTERM)


def interruptible() -> Handlers:
    """From now on SIGTERM is a KeyboardInterrupt, as SIGINT is; the handlers that were there before.

    Outside of the main thread, where Python allows no handlers, nothing changes.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return _handle(interrupt, *ENDING)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No second signal breaks off the ending that the first one began, a closing terminal's neither."""
    before = _handle(signal.SIG_IGN, *ENDING, signal.SIGHUP)
    try:
        yield
    finally:
        restore(before)


def restore(handlers: Handlers) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _handle(handler: Any, *numbers: signal.Signals) -> Handlers:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in numbers}
