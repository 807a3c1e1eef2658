"""The bytes of the objects, on disk, one file per version: its name is the version, never a user's word."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal
from uuid import UUID

from local.gateway.storage import faults

CHUNK = 256 * 1024
PARTIAL = ".partial"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A written file: its size in bytes, its hex MD5, and when."""

    size: int
    md5: str
    modified: datetime


class Files:
    """The folder of bytes. Writing is complete or not at all, and on disk before it returns."""

    def __init__(self, folder: Path):
        self._folder = folder

    def remove_partial(self) -> None:
        """Remove the half-written files of a gateway that was killed. Only while nobody writes."""
        for path in self._folder.glob(f"??/*{PARTIAL}"):
            path.unlink(missing_ok=True)

    def path(self, version: str) -> Path:
        """Where a version lies; anything but a UUID is refused."""
        digits = UUID(version).hex
        return self._folder / digits[:2] / digits

    def _place(self, version: str) -> Path:
        """Where a new version is to lie, which its user alone can reach."""
        path = self.path(version)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    async def write(self, version: str, chunks: AsyncIterator[bytes], limit: int) -> Stored:
        """Write the bytes of `chunks`; `too_large` beyond `limit` bytes. Nothing is left after a failure."""
        path = self._place(version)
        partial = path.with_suffix(PARTIAL)
        try:
            stored = await _write(partial, chunks, limit)
            await asyncio.to_thread(_commit, partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return stored

    def adopt(self, path: Path, version: str) -> None:
        """Take a complete file, which must lie on the same disk, as the bytes of a version."""
        _commit(path, self._place(version))

    async def copy(self, version: str, new_version: str) -> str:
        """A second file with the same bytes, whose hex MD5 is returned; a fault where there are none."""
        try:
            return await asyncio.to_thread(_copy, self.path(version), self._place(new_version))
        except FileNotFoundError:
            raise faults.bytes_missing() from None

    async def open(self, version: str) -> BinaryIO:
        """The version's file, open for reading; a fault where there is none."""
        try:
            return await asyncio.to_thread(self.path(version).open, "rb")
        except FileNotFoundError:
            raise faults.bytes_missing() from None

    async def remove(self, *versions: str) -> None:
        """Forget versions; those that are gone already are no error."""
        for version in versions:
            await asyncio.to_thread(self.path(version).unlink, missing_ok=True)


def create(path: Path, mode: Literal["wb", "ab"] = "wb") -> BinaryIO:
    """A file that its user alone can read."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


async def _write(path: Path, chunks: AsyncIterator[bytes], limit: int) -> Stored:
    size, md5 = 0, new_md5()
    with create(path) as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise faults.too_large()
            await asyncio.to_thread(_append, file, md5, chunk)
        await asyncio.to_thread(sync, file)
    return Stored(size=size, md5=md5.hexdigest(), modified=datetime.now(UTC))


def _append(file: BinaryIO, md5: hashlib._Hash, chunk: bytes) -> None:
    md5.update(chunk)
    file.write(chunk)


def sync(file: BinaryIO) -> None:
    """Return when the written bytes are on disk."""
    file.flush()
    os.fsync(file.fileno())


def _copy(source: Path, target: Path) -> str:
    partial = target.with_suffix(PARTIAL)
    try:
        with source.open("rb") as reader, create(partial) as writer:
            shutil.copyfileobj(reader, writer, CHUNK)
            sync(writer)
            reader.seek(0)
            md5 = hashlib.file_digest(reader, new_md5).hexdigest()
        _commit(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return md5


def new_md5(data: bytes = b"") -> hashlib._Hash:
    """As S3's eTags have it: of bytes that nobody protects by it."""
    return hashlib.md5(data, usedforsecurity=False)


def _commit(partial: Path, path: Path) -> None:
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename is on disk too
    finally:
        os.close(folder)
