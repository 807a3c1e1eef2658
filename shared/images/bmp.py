"""BMP files whose header, palette or bit fields Pillow doesn't know. Source: Microsoft's BITMAPINFOHEADER."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL.ImageFile import ImageFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEADER = 40  # bytes of Microsoft's; the shorter ones of OS/2 2 end somewhere in it, the rest being zero
OS2_HEADER, HEADER_4 = 16, 108
COLOURS, ALPHA = struct.pack("<3I", 0xFF0000, 0xFF00, 0xFF), struct.pack("<I", 0xFF000000)  # masks
BAND = 64  # rows
RUN_LENGTHS = (1, 2)  # compressions, of 8 and of 4 bits
END, DELTA = 1, 2  # codes in run lengths
LEAP = bytes([0, DELTA, 0, 255])  # over 255 rows
BIT_FIELDS, WITH_ALPHA = (3, 6), 6  # compressions
# Masks of red, green and blue that Pillow reads, with any fourth.
USUAL = {
    16: {(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)},
    32: {(0xFF0000, 0xFF00, 0xFF)},
}


def completed(data: bytes, image: ImageFile) -> bytes:
    """A file whose run lengths end on purpose before the last row, with the first colour behind them."""
    if image.info.get("compression") not in RUN_LENGTHS:
        return data
    place, leaps = image.tile[0].offset, image.size[1] // 255 + 1
    last = data.rfind(bytes([0, END]), place)  # the end, if any: a file that was cut off isn't walked through
    while place <= last:
        count, code = data[place : place + 2]
        if (count, code) == (0, END):
            return data[:place] + leaps * LEAP + data[place:]
        place += 2
        if count == 0 and code == DELTA:
            place += 2
        elif count == 0 and code > DELTA:  # so many pixels as they are, in pairs of bytes
            place += code if image.info["compression"] == RUN_LENGTHS[0] else (code + 1) // 2
            place += place % 2
    return data


def refusal(data: bytes) -> str | None:
    """The variant that isn't read; None for one that should have been."""
    if len(data) < 34:
        return None
    header, _, _, _, bits, compression = struct.unpack("<IiiHHI", data[14:34])
    if header < 40:
        return None
    if compression in BIT_FIELDS and bits not in (16, 32):
        return f"BMP with bit fields of {bits} bits"
    if compression > 2 and compression not in BIT_FIELDS:
        return f"BMP with compression {compression}"
    return f"BMP with {bits} bits per pixel" if bits not in (1, 4, 8, 16, 24, 32) else None


def size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None for another format, or a header that `clean` leaves alone."""
    if data[:2] != b"BM" or len(data) < 54 or int.from_bytes(data[14:18], "little") < OS2_HEADER:
        return None
    width, height = struct.unpack("<ii", data[18:26])
    return (width, abs(height)) if width > 0 else None


def clean(data: bytes) -> bytes:
    """The same file, as Pillow knows it."""
    return _in_usual_order(_with_told_alpha(_with_whole_header(data)))


def _with_whole_header(data: bytes) -> bytes:
    """A header of usual length, that counts no more colours than the pixels can name."""
    header = int.from_bytes(data[14:18], "little")
    if len(data) < 54 or header < OS2_HEADER:
        return data
    if header < HEADER:
        offset = int.from_bytes(data[10:14], "little") + HEADER - header
        head = struct.pack("<II", offset & 0xFFFFFFFF, HEADER) + data[18 : 14 + header]
        data = data[:10] + head.ljust(HEADER + 4, b"\0") + data[14 + header :]
    bits, colours = int.from_bytes(data[28:30], "little"), int.from_bytes(data[46:50], "little")
    return data[:46] + bytes(4) + data[50:] if bits <= 8 and colours > 1 << bits else data


def _with_told_alpha(data: bytes) -> bytes:
    """With bit fields, where the header tells of alpha beside plain colours: Pillow knows it by those alone.

    Not where all of it is zero, as programs leave it that know none: browsers show nothing then.
    """
    if len(data) < 70:
        return data
    offset, header, width, height, _, bits, compression = struct.unpack("<IIiiHHI", data[10:34])
    if header < HEADER_4 or bits != 32 or compression or data[66:70] != ALPHA:
        return data
    alpha = data[offset + 3 : offset + 4 * width * abs(height) : 4]
    if not alpha.strip(b"\0"):
        return data
    return data[:30] + struct.pack("<I", BIT_FIELDS[0]) + data[34:54] + COLOURS + data[66:]


def _in_usual_order(data: bytes) -> bytes:
    """Its bit fields in the usual order, where Pillow wouldn't know theirs."""
    if len(data) < 70 or struct.unpack("<I", data[30:34])[0] not in BIT_FIELDS:
        return data
    header, width, height, _, bits, compression = struct.unpack("<IiiHHI", data[14:34])
    masks = struct.unpack("<4I", data[54:70])[: 4 if header >= 56 or compression == WITH_ALPHA else 3]
    if bits not in (16, 32) or header < HEADER or width <= 0:
        return data
    if masks[:3] in USUAL[bits] and compression != WITH_ALPHA:
        return data
    return _reordered(data, width, height, bits, masks)


def _reordered(data: bytes, width: int, height: int, bits: int, masks: Sequence[int]) -> bytes:
    import numpy as np  # for these rare ones alone

    (offset,) = struct.unpack("<I", data[10:14])
    stride, rows = (width * bits + 31) // 32 * 4, abs(height)
    pixels = np.frombuffer(data, np.uint8, stride * rows, offset).reshape(rows, stride)
    pixels = pixels[:, : width * bits // 8]
    has_alpha = len(masks) == 4 and masks[3]
    masks = masks if has_alpha else masks[:3]
    body = b"".join(_band(pixels[top : top + BAND], bits, masks) for top in range(0, rows, BAND))
    header = struct.pack("<IiiHHIIiiII", 56, width, height, 1, 32, 3, len(body), 0, 0, 0, 0)
    order = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000 if has_alpha else 0)
    return b"BM" + struct.pack("<IHHI", 70 + len(body), 0, 0, 70) + header + order + body


def _band(pixels: NDArray[np.uint8], bits: int, masks: Sequence[int]) -> bytes:
    """Some rows as blue, green, red and alpha: one at a time, a channel takes eight bytes a pixel."""
    import numpy as np

    values = np.ascontiguousarray(pixels).view(f"<u{bits // 8}").astype(np.uint32)
    channels = [_channel(values, mask) for mask in masks]
    alpha = channels[3:] or [np.full_like(channels[0], 255)]
    return np.dstack([channels[2], channels[1], channels[0], *alpha]).astype(np.uint8).tobytes()


def _channel(values: NDArray[np.uint32], mask: int) -> NDArray[np.uint32]:
    """One channel's values as 0 to 255."""
    if not mask:
        return values * 0
    shift = (mask & -mask).bit_length() - 1
    largest = mask >> shift
    return ((values & mask) >> shift).astype("u8") * 255 // largest
