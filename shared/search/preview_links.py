"""Where a result's preview is to be had: at Storage's image transformation, or at `GET /preview` of query."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from urllib.parse import quote, urlencode

from shared.errors import StorageError
from shared.runtime import logs
from shared.search.previews import SIZES
from shared.supabase.storage import Storage

SIGNERS = 8  # at a time: Storage signs transformations one by one
SLOW_SECONDS, PAUSE_SECONDS = 5, 60  # a signature that takes this long, and none is asked for after it
URLs = Mapping[tuple[str, str], str]  # bucket and name -> the original's address


class PreviewLinks:
    """Links for one page of results. `transforms`: whether the project has Storage's transformation."""

    def __init__(self, *, transforms: bool, clock: Callable[[], float] = time.monotonic):
        self._signers = ThreadPoolExecutor(SIGNERS, "sign") if transforms else None
        self._clock = clock
        self._slow_at = clock() - PAUSE_SECONDS

    def of(self, storage: Storage, urls: URLs, *, seconds: int) -> dict[tuple[str, str], str]:
        """Bucket and name -> the preview's address, for each of `urls`; see `own` for those of query."""
        links = {place: own(*place, url) for place, url in urls.items()}
        if self._signers is None:
            return links
        waiting = {
            place: self._signers.submit(copy_context().run, self._transformed, storage, place, url, seconds)
            for place, url in urls.items()
        }
        return links | {place: link for place, one in waiting.items() if (link := one.result())}

    def _transformed(self, storage: Storage, place: tuple[str, str], url: str, seconds: int) -> str | None:
        """None where Storage has none for it: query's own preview remains."""
        bucket, name = place
        side = SIZES["tile"].side
        if "?token=" not in url:
            return storage.public_transformation(bucket, name, side=side)
        if "?" in name:  # Storage signs its name encoded, and then doesn't know it again
            return None
        began = self._clock()
        if began < self._slow_at + PAUSE_SECONDS:  # all callers share the signers: each would wait for all
            return None
        try:
            return storage.sign_transformation(bucket, name, side=side, seconds=seconds)
        except StorageError as error:  # the results are worth answering with other previews
            logs.write("preview not signed", severity="WARNING", error=error, bucket=bucket)
            return None
        finally:
            if (now := self._clock()) - began >= SLOW_SECONDS:
                self._slow_at = now


def own(bucket: str, name: str, url: str) -> str:
    """The address at query, relative to the function's own, which it can't know behind a gateway."""
    token = url.rpartition("?token=")[2] if "?token=" in url else ""
    fields = {"bucket": bucket, "name": name} | ({"token": token} if token else {})
    return f"preview?{urlencode(fields, quote_via=quote)}"
