"""The segments of a JPEG, read without its decoder. Source: ITU-T T.81, annex B."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import TooManyScans, UnsupportedImage

MAX_SCANS = 100  # each costs a pass over all pixels
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
HIERARCHICAL = {0xC5, 0xC6, 0xCD, 0xCE}
LS = 0xF7  # JPEG-LS's frame
NOTES = {*range(0xE0, 0xF0), 0xFE}  # application segments and comments
JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
# In a scan's data FF is followed by 00, or by a restart marker. To match the FFs that may come before it
# takes time by the square of their number.
MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")


@dataclass(frozen=True, kw_only=True)
class Segment:
    marker: int
    start: int  # place in the file of its marker
    content: int  # place behind its length
    end: int


def segments(data: bytes, start: int = 0) -> Iterator[Segment]:
    """Those of the image at `start`, until it ends."""
    place = start + 2
    while found := MARKER.search(data, place):
        marker, begin = found[1][0], found.end()
        if marker == END_OF_IMAGE:
            return
        length = int.from_bytes(data[begin : begin + 2], "big")
        place = begin if marker in ALONE else begin + length
        yield Segment(marker=marker, start=found.start(), content=begin + 2, end=place)


def clean(data: bytes) -> bytes:
    """The file without the notes that don't bear on its pixels: broken ones must not cost the picture.

    TooManyScans and UnsupportedImage where it isn't to be decoded.
    """
    parts, scans, begin, has_jfif = [b""], 0, 2, False
    for one in segments(data):
        scans += one.marker == START_OF_SCAN
        if scans > MAX_SCANS:
            raise TooManyScans(
                f"The JPEG refines itself in more than {MAX_SCANS} scans. "
                "Save it anew as a plain JPEG and upload it again."
            )
        if one.marker in FRAMES or one.marker == LS:
            _check_frame(one.marker, data[one.content])
        if one.marker in NOTES:
            head = data[one.content : min(one.content + 14, one.end)]
            has_jfif |= one.marker == 0xE0 and head.startswith(b"JFIF")
            if not _matters(one.marker, head):
                parts.append(data[begin : one.start])
                begin = one.end
    return b"".join([data[:2], JFIF if has_jfif else b"", *parts, data[begin:]])


def _matters(marker: int, head: bytes) -> bool:
    return (
        (marker == 0xE1 and head.startswith(b"Exif\0"))
        or (marker == 0xE2 and head.startswith(b"ICC_PROFILE\0"))
        or (marker == 0xEE and head.startswith(b"Adobe") and len(head) >= 12)
    )


def _check_frame(marker: int, precision: int) -> None:
    if marker in LOSSLESS:
        raise UnsupportedImage.variant("Lossless JPEG")
    if marker == LS:
        raise UnsupportedImage.variant("JPEG-LS")
    if marker in HIERARCHICAL:
        raise UnsupportedImage.variant("Hierarchical JPEG")
    if precision != 8:
        raise UnsupportedImage.variant(f"JPEG with {precision} bits per sample")


def size(data: bytes, start: int = 0) -> tuple[int, int] | None:
    """Width and height of the image at `start`; None where it has none, or isn't of a kind that is read."""
    for one in segments(data, start):
        if one.marker in FRAMES:
            frame = data[one.content : one.content + 5]
            if one.marker in LOSSLESS or len(frame) < 5 or frame[0] != 8:
                return None
            _, height, width = struct.unpack(">BHH", frame)
            return (width, height) if width and height else None
        if one.marker == START_OF_SCAN:
            return None
    return None
