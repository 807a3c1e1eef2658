"""Small files whose decoding is long: refused, or ended by the budget of their request."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image


def one_pixel_wide(rows: int = 100_000_000) -> bytes:
    """A PNG of some 100 bytes that announces a column of so many pixels."""
    header = struct.pack(">IIBBBBB", 1, rows, 8, 0, 0, 0, 0)
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(bytes(2))), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def long_and_plain(size: tuple[int, int] = (2599, 38_476)) -> bytes:
    """A PNG of 290 kB whose picture is too low to be reduced for a model by whole steps."""
    return _plain(size, "PNG")


def large_and_plain(size: tuple[int, int] = (9990, 10_000)) -> bytes:
    """A WebP of 34 bytes whose decoder takes 1.6 GB."""
    return _plain(size, "WEBP", lossless=True, method=0)


def _plain(size: tuple[int, int], kind: str, **options: object) -> bytes:
    file = BytesIO()
    Image.new("RGB", size).save(file, kind, **options)
    return file.getvalue()


def many_scans(scans: int, size: tuple[int, int]) -> bytes:
    """A progressive JPEG whose last scan comes again and again, each a pass over all of it."""
    file = BytesIO()
    Image.new("RGB", size, (200, 90, 40)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
