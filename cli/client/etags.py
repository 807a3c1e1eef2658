"""Entity tags as Storage's S3 back end makes them: an MD5, or the MD5 of the parts' MD5s and their number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

MIB = 1024 * 1024
# Of a part: the AWS SDK's default, that of resumable uploads, and rarer choices.
PART_SIZES = (5 * MIB, 6 * MIB, 8 * MIB, 16 * MIB, 50 * MIB)


def matches(etag: str, path: Path) -> bool:
    """Whether the file's bytes have this entity tag. A tag in parts of another size never matches."""
    tag, _, parts = etag.strip('"').partition("-")
    if not parts:
        return _md5(path).hex() == tag
    size = path.stat().st_size
    fitting = (part for part in PART_SIZES if str(-(-size // part)) == parts)
    return any(_md5_of_parts(path, part).hex() == tag for part in fitting)


def _md5(path: Path) -> bytes:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).digest()


def _md5_of_parts(path: Path, size: int) -> bytes:
    digests = (hashlib.md5(part, usedforsecurity=False).digest() for part in _parts(path, size))
    return hashlib.md5(b"".join(digests), usedforsecurity=False).digest()


def _parts(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as opened:
        while part := opened.read(size):
            yield part
