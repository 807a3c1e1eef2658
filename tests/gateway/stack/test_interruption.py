"""Signals while the stack ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from local.interruption import undisturbed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The signals that this process has handled."""
    seen: list[int] = []
    before = {number: signal.signal(number, lambda one, _: seen.append(one)) for number in SIGNALS}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_none_breaks_off_the_ending(number: signal.Signals, handled: list[int]) -> None:
    with undisturbed():
        signal.raise_signal(number)
    assert not handled
    signal.raise_signal(number)
    assert handled == [number]
