"""The segments of a JPEG, read without its decoder. Source: ITU-T T.81, annex B."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.errors import TooManyScans

SIGNATURE = b"\xff\xd8\xff"
MAX_SCANS = 100  # each costs a pass over all pixels
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
# In a scan's data FF is followed by 00, or by a restart marker.
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, begin of the content and end of each segment, until the image's end or the file's."""
    place = 2
    while found := MARKER.search(data, place):
        marker, begin = found[1][0], found.end()
        if marker == END_OF_IMAGE:
            return
        length = int.from_bytes(data[begin : begin + 2], "big")
        place = begin if marker in ALONE else begin + length
        yield marker, begin + 2, place


def check_scans(data: bytes) -> None:
    """TooManyScans where a JPEG has more than a sensible one."""
    if not data.startswith(SIGNATURE):
        return
    scans = 0
    for marker, _, _ in segments(data):
        scans += marker == START_OF_SCAN
        if scans > MAX_SCANS:
            raise TooManyScans(
                f"The JPEG refines itself in more than {MAX_SCANS} scans. "
                "Save it anew as a plain JPEG and upload it again."
            )
