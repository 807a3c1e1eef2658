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


def long_and_plain(size: tuple[int, int] = (65_535, 895)) -> bytes:
    """A PNG of 170 kB whose picture is too low to be reduced for a model: 176 MB."""
    file = BytesIO()
    Image.new("RGB", size).save(file, "PNG")
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
