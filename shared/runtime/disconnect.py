"""Whether the client of the request that this thread works on still waits for the answer.

Looked at before each dear step, and during those that wait or come in pieces, so that none goes on for a
client who has hung up. A thread that serves no request works on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from shared.errors import ClientClosedRequest

LOOK_SECONDS = 0.25  # between two looks of a step that waits

IsWanted = Callable[[], bool]  # once it says no, it always does


def _always() -> bool:
    return True


_is_wanted: ContextVar[IsWanted] = ContextVar("is_wanted", default=_always)


@contextmanager
def ends_work(is_wanted: IsWanted) -> Iterator[None]:
    """Has this thread's steps end as soon as `is_wanted` says no. Any thread may ask it."""
    token = _is_wanted.set(is_wanted)
    try:
        yield
    finally:
        _is_wanted.reset(token)


def is_wanted() -> IsWanted:
    """This request's, to be asked by others."""
    return _is_wanted.get()


def check() -> None:
    """Raises ClientClosedRequest where the client has hung up."""
    if not _is_wanted.get()():
        raise ClientClosedRequest()
