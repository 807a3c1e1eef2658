"""Windows icons: several pictures in one file, of which browsers show the largest."""

from __future__ import annotations

import struct

ENTRY = struct.Struct("<BBBBHHII")
HEADER = struct.Struct("<HHH")
PNG = b"\x89PNG"


def largest(data: bytes) -> tuple[bytes, bool]:
    """An icon of the largest picture alone, or that picture where it is a PNG, which the flag tells."""
    count = HEADER.unpack_from(data)[2]
    places = range(HEADER.size, HEADER.size + min(count, 256) * ENTRY.size, ENTRY.size)
    entries = [ENTRY.unpack_from(data, place) for place in places]
    entry = max(entries, key=lambda one: ((one[0] or 256) * (one[1] or 256), one[5]))
    size, offset = entry[6:]
    picture = data[offset : offset + size]
    if picture.startswith(PNG):
        return picture, True
    place = HEADER.size + ENTRY.size
    entry = (*entry[:5], _bits(picture), len(picture), place)
    return HEADER.pack(0, 1, 1) + ENTRY.pack(*entry) + picture, False


def _bits(bitmap: bytes) -> int:
    """For the directory, by which Pillow takes the opacity: of 32 bits from the pixels, else from the mask.

    An icon whose pixels are all transparent shows those that its mask does, as older ones of 32 bits do.
    """
    header, width, height, _, bits = struct.unpack_from("<IiiHH", bitmap)
    opacities = bitmap[header + 3 : header + 2 * width * height : 4]
    return 24 if bits == 32 and not opacities.strip(b"\0") else bits


def size(data: bytes) -> tuple[int, int]:
    """Width and height in the bitmap's own header: that of the directory is a wish."""
    width, height = struct.unpack_from("<ii", data, HEADER.size + ENTRY.size + 4)
    return width, abs(height) // 2  # the mask lies below the picture
