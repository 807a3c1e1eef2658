"""Vectors of texts asked before: for a text's next pages, and for one that is asked again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np

MAX_TEXTS = 1000  # of 1,280 dimensions together 5 MB


class TextVectors:
    """The latest of this process. Safe to use from several threads.

    Each is kept for its caller alone: the time of an answer tells nobody others' searches. All who
    aren't signed in are one caller.
    """

    def __init__(self, most: int = MAX_TEXTS):
        self._most = most
        self._kept: OrderedDict[tuple[bytes, str, str], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, caller: bytes, model: str, texts: Iterable[str]) -> dict[str, np.ndarray]:
        """The kept vectors of these texts by `model`, for the caller with this digest."""
        with self._lock:
            found = {
                text: self._kept[caller, model, text] for text in texts if (caller, model, text) in self._kept
            }
            for text in found:
                self._kept.move_to_end((caller, model, text))
        return found

    def keep(self, caller: bytes, model: str, vectors: Mapping[str, np.ndarray]) -> None:
        with self._lock:
            # Copies: a row of a request's array would keep all of its rows.
            self._kept.update({(caller, model, text): vector.copy() for text, vector in vectors.items()})
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
