"""Uploads under way: on disk, so that they survive a restart, and one request at a time for each."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from local.gateway.storage import faults as storage_faults
from local.gateway.storage.files import Files, Stored, create, new_md5, sync
from local.gateway.storage.tus import faults

LIFETIME = 24 * 3600.0  # seconds from its creation
ATTEMPTS, PAUSE = 10, 0.5  # how often, and after how many seconds each, a request asks for its turn


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An upload that was created."""

    bucket: str
    name: str
    version: str  # of the object that it becomes; a UUID
    length: int | None  # of all the bytes; None until the client tells it
    metadata: dict[str, str | None]
    created: float  # seconds since the epoch
    finished: bool = False  # the object's row is committed

    @property
    def expires(self) -> datetime:
        return datetime.fromtimestamp(self.created + LIFETIME, UTC)

    @property
    def is_expired(self) -> bool:
        return time.time() > self.created + LIFETIME


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)  # by a request that waits
    users: int = 0


class Pending:
    """The folder of uploads: for each, its facts and the bytes so far."""

    def __init__(self, folder: Path, files: Files):
        self._folder = folder
        self._files = files
        self._turns: dict[str, _Turn] = {}

    @contextlib.asynccontextmanager
    async def turn(self, version: str) -> AsyncIterator[asyncio.Event]:
        """Exclusive use of an upload; the event says that somebody waits for it.

        The waiting request is served soon: a client that lost its connection comes back before the server has
        noticed, and then the request that it left behind gives way. A fault where it doesn't in 5 seconds.
        """
        turn = self._turns.setdefault(version, _Turn())
        turn.users += 1
        try:
            await _acquire(turn)
            try:
                turn.wanted.clear()
                yield turn.wanted
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[version]

    def create(self, upload: Upload) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write(upload)
        create(self._bytes(upload.version)).close()

    def find(self, version: str) -> Upload:
        """The upload; a fault where there is none."""
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            return Upload(**json.loads(self._description(version).read_text()))
        raise faults.not_found()

    def offset(self, upload: Upload) -> int:
        """How many bytes there are."""
        if upload.finished:
            return upload.length or 0
        return self._bytes(upload.version).stat().st_size

    def is_broken(self, upload: Upload) -> bool:
        """Whether the gateway ended between the last byte and the object's row."""
        if upload.finished:
            return False
        path = self._bytes(upload.version)
        return not path.exists() or path.stat().st_size == upload.length

    def declare_length(self, upload: Upload, length: int) -> Upload:
        changed = replace(upload, length=length)
        self._write(changed)
        return changed

    async def append(self, upload: Upload, chunks: AsyncIterator[bytes], limit: int) -> int:
        """Add the bytes of `chunks`; the new offset. Those before an interruption stay.

        Beyond `limit` bytes in all it is a fault, and the upload stays as it was.
        """
        before = self.offset(upload)
        offset = before
        with self._bytes(upload.version).open("ab") as file:
            try:
                async for chunk in chunks:
                    offset += len(chunk)
                    if offset > limit:
                        file.truncate(before)
                        raise faults.too_large()
                    await asyncio.to_thread(_write_out, file, chunk)
            finally:
                await asyncio.to_thread(sync, file)
        return offset

    async def seal(self, upload: Upload) -> Stored:
        """Hand the bytes over to the objects' files."""
        path = self._bytes(upload.version)
        md5 = await asyncio.to_thread(_md5, path)
        await asyncio.to_thread(self._files.adopt, path, upload.version)
        return Stored(size=upload.length or 0, md5=md5, modified=datetime.now(UTC))

    def finish(self, upload: Upload) -> None:
        """Remember that the object is there: a client whose last answer was lost will ask."""
        self._write(replace(upload, finished=True))

    def forget(self, upload: Upload) -> None:
        self._bytes(upload.version).unlink(missing_ok=True)
        self._description(upload.version).unlink(missing_ok=True)

    def everything(self) -> Iterator[Upload]:
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(faults.TusFault):  # it went away just now, or isn't ours
                yield self.find(path.stem)

    def remove_litter(self) -> None:
        """Files that no upload knows and nobody has touched for as long as an upload lives."""
        known = {path for one in self.everything() for path in self._paths(one.version)}
        for path in self._folder.glob("*"):
            if path not in known and path.stat().st_mtime < time.time() - LIFETIME:
                path.unlink(missing_ok=True)

    def _write(self, upload: Upload) -> None:
        path = self._description(upload.version)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(upload)))
        partial.replace(path)

    def _paths(self, version: str) -> tuple[Path, Path]:
        return self._description(version), self._bytes(version)

    def _description(self, version: str) -> Path:
        return self._bytes(version).with_suffix(".json")

    def _bytes(self, version: str) -> Path:
        return self._folder / UUID(version).hex


async def until(stop: asyncio.Event, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """`chunks`, ended early when `stop` is set, even while the next one is awaited."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        while chunk := await _next(chunks, stopping):
            yield chunk
    finally:
        stopping.cancel()


async def _next(chunks: AsyncIterator[bytes], stopping: asyncio.Future[Any]) -> bytes:
    """The next chunk; empty at the end of them, or where `stopping` is done first."""
    reading = asyncio.ensure_future(_read(chunks))
    try:
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else b""
    finally:
        reading.cancel()


async def _read(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks, b"")


async def _acquire(turn: _Turn) -> None:
    for _ in range(ATTEMPTS):
        turn.wanted.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(turn.lock.acquire(), PAUSE)
            return
    raise storage_faults.lock_timeout()


def _write_out(file: BinaryIO, chunk: bytes) -> None:
    file.write(chunk)
    file.flush()  # the size tells how far the upload is, even if this process is killed


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, new_md5).hexdigest()
