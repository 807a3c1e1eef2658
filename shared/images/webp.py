"""The size in a WebP's header, read without its decoder, which takes the memory for it at once."""

from __future__ import annotations

HEADER = 30  # bytes of the file: RIFF's header, a chunk's, and as much of that chunk as tells the size


def size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None for another format, or a broken WebP. Source: RFC 9649, section 2."""
    if len(data) < HEADER or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    if data[12:16] == b"VP8X":
        return _number(data[24:27]) + 1, _number(data[27:30]) + 1
    if data[12:16] == b"VP8L":
        bits = _number(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[12:16] == b"VP8 ":
        return _number(data[26:28]) & 0x3FFF, _number(data[28:30]) & 0x3FFF
    return None


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def clean(data: bytes) -> bytes:
    """The file without a chunk that is cut off behind the picture, such as its EXIF."""
    place = 12
    while place + 8 <= len(data):
        end = place + 8 + _number(data[place + 4 : place + 8])
        if end > len(data):
            break
        place = end + end % 2
    place = min(place, len(data))
    return data[:4] + (place - 8).to_bytes(4, "little") + data[8:place]
