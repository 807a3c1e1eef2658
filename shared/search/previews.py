"""Small pictures of stored images, for an `<img>`: made when they are asked for, stored nowhere."""

from __future__ import annotations

import re
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from shared.errors import ImageError, InvalidQuery
from shared.images import Decode
from shared.runtime import disconnect
from shared.runtime.limiter import ConcurrencyLimiter
from shared.supabase.storage import MAX_PATH, Storage, climbs, is_too_long

AT_ONCE, RUNNING = 24, 2  # requests here, a page of tiles: a browser may ask for them all at once
CACHE_BYTES = 16 * 1024 * 1024  # some 1000 tiles
ENTRY_BYTES = 1024  # as which Python's objects of one count, beside its name, ETag and picture or words
QUALITIES = (75, 50, 25)
SMALLER = 0.7  # of both sides, where not even the lowest quality is enough

CONTROL = re.compile(r"[\0-\x1f\x7f]")
Key = tuple[str, str, str]  # bucket, name, size
Preview = bytes | ImageError  # or why there is none


@dataclass(frozen=True, kw_only=True)
class Size:
    """The most that a preview may have."""

    side: int  # pixels of the longer one
    bytes: int


SIZES = {
    "tile": Size(side=400, bytes=25_000),
    "large": Size(side=1600, bytes=250_000),  # for a viewer whose browser can't show the original
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A preview as its address names it; `token` is Storage's own, "" for an object in a public bucket."""

    bucket: str
    name: str
    token: str = ""
    size: str = "tile"

    def __post_init__(self) -> None:
        if not self.bucket or not self.name.strip("/"):
            raise InvalidQuery("bucket or name is missing. Take the `preview` of a result as it is.")
        if is_too_long(self.bucket, self.name):
            raise InvalidQuery(f"An address of more than {MAX_PATH} bytes has no preview.", value=self.name)
        if climbs(self.bucket, self.name):
            raise InvalidQuery("An address with `.` or `..` in it has no preview.", value=self.name)
        if CONTROL.search(f"{self.bucket}/{self.name}"):  # Storage would call it a failure of its own
            raise InvalidQuery("An address with control characters in it has no preview.", value=self.name)
        if self.size not in SIZES:
            raise InvalidQuery(f"size is {self.size!r:.100}. Expected one of: {', '.join(SIZES)}.")

    @property
    def key(self) -> Key:
        return self.bucket, self.name, self.size


class Previews:
    """Makes previews of objects that Storage hands out for a token. One per process; any thread may call it.

    They are bounded apart from searches; one is decoded at a time, so that searches find a decoder free.
    """

    def __init__(self, *, storage: Storage, decode: Decode, max_bytes: int):
        self._storage = storage
        self._limiter = ConcurrencyLimiter(running=RUNNING, waiting=AT_ONCE - RUNNING)
        self._decode = decode
        self._max_bytes = max_bytes
        self._decoding = ConcurrencyLimiter(running=1, waiting=RUNNING - 1)
        self._cache = Cache(CACHE_BYTES)

    def make(self, wanted: Wanted) -> bytes:
        """A WebP. StorageError where Storage refuses the token, ImageError where the object is no image."""
        with self._limiter.enter():
            etag, kept = self._cache.get(wanted.key)
            found = self._storage.download_shared(
                wanted.bucket, wanted.name, token=wanted.token, max_bytes=self._max_bytes, known=etag
            )
            if found is None:  # Storage has taken the token, and has no other version
                if isinstance(kept, ImageError):
                    raise _bare(kept)
                return kept
            try:
                made = self._drawn(found.data, SIZES[wanted.size])
            except ImageError as error:
                if error.outcome != "retry":
                    self._cache.put(wanted.key, found.etag, _bare(error))
                raise
            self._cache.put(wanted.key, found.etag, made)
            return made

    def _drawn(self, data: bytes, size: Size) -> bytes:
        with self._decoding.enter():
            picture = self._decode(data, min_side=size.side).picture
        disconnect.check()
        return webp(picture, size)


class Cache:
    """The latest previews and failures with their objects' ETags, up to so many bytes of memory together."""

    def __init__(self, most: int):
        self._most = most
        self._bytes = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[str, Preview, int]] = OrderedDict()

    def get(self, key: Key) -> tuple[str, Preview]:
        """ETag and preview; both empty where there is none."""
        with self._lock:
            if key not in self._kept:
                return "", b""
            self._kept.move_to_end(key)
            return self._kept[key][:2]

    def put(self, key: Key, etag: str, preview: Preview) -> None:
        """Keeps it, where there is an ETag to know its version by."""
        size = _size(key, etag, preview)
        with self._lock:
            if key in self._kept:
                self._bytes -= self._kept.pop(key)[2]
            if etag:
                self._kept[key] = etag, preview, size
                self._bytes += size
            while self._bytes > self._most:
                _, (_, _, dropped) = self._kept.popitem(last=False)
                self._bytes -= dropped


def _size(key: Key, etag: str, preview: Preview) -> int:
    """With its name, which may be longer than the preview of a plain picture."""
    content = f"{preview}{preview.told}{preview.value}" if isinstance(preview, ImageError) else preview
    return ENTRY_BYTES + sum(map(sys.getsizeof, (*key, etag, content)))


def _bare(error: ImageError) -> ImageError:
    """The same error without its cause and traceback, which hold the file."""
    return type(error)(str(error), value=error.value, told=error.told)


def webp(picture: Image.Image, size: Size) -> bytes:
    """The picture as large and as good as fits into `size`; made smaller itself: a copy may take 100 MB."""
    side = size.side
    while True:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        for quality in QUALITIES:
            if len(encoded := _encoded(picture, quality)) <= size.bytes:
                return encoded
        side = int(max(picture.size) * SMALLER)


def _encoded(picture: Image.Image, quality: int) -> bytes:
    file = BytesIO()
    picture.save(file, "WEBP", quality=quality)
    return file.getvalue()
