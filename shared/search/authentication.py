"""Verifies a caller before we work for them, by the one call that also tells the active model."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from shared.search.index import ActiveModel, active_model
from shared.supabase.credentials import Identity
from shared.supabase.database import Database

HOLD_SECONDS = 10.0  # how long an answer is remembered, never past the token's expiry
MAX_CALLERS = 1000


class AuthenticationCache:
    """PostgREST checks the token. A hash of it is remembered for a moment; a refused one never is."""

    def __init__(self, connect: Callable[[Identity], Database], clock: Callable[[], float] = time.time):
        self._connect = connect
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, ActiveModel]] = OrderedDict()
        self._lock = threading.Lock()

    def authenticate(self, caller: Identity) -> ActiveModel:
        """The active model; Unauthorized where the caller's token or key is worth nothing."""
        with self._lock:
            until, known = self._known.get(caller.digest, (0.0, None))
        # Not either where the clock was set back, which would make the moment as long.
        if known is not None and until - HOLD_SECONDS <= self._clock() < until:
            return known
        model = active_model(self._connect(caller))
        self._remember(caller, model)
        return model

    def _remember(self, caller: Identity, model: ActiveModel) -> None:
        until = self._clock() + HOLD_SECONDS
        if caller.expires_at is not None:
            until = min(until, caller.expires_at)
        with self._lock:
            self._known[caller.digest] = (until, model)
            self._known.move_to_end(caller.digest)
            while len(self._known) > MAX_CALLERS:
                self._known.popitem(last=False)
