"""Cameras' raw files: the preview in them that is as large as the picture, or a refusal."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from shared.errors import UnsupportedImage
from shared.images import jpeg, tiff

START = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]")
MAX_PREVIEWS = 64  # places tried; now and then a sensor's noise looks like one
LEAST_SHARE = 0.8  # of the sensor's longer side
LEAST_SIDE = 1600  # pixels, where the sensor's size can't be told
HEAD = 64 * 1024  # bytes in which a CR3 tells of its picture
FUJI_SIZE, MAX_ENTRIES = 0x111, 256
# A file's first bytes, or its maker's name -> its type
TYPES = (
    (b"IIR", "image/x-olympus-orf"),
    (b"MMOR", "image/x-olympus-orf"),
    (b"IIU\0", "image/x-panasonic-rw2"),
    (b"FUJIFILM", "image/x-fuji-raf"),
    (b"FOVb", "image/x-sigma-x3f"),
    (b"\0MRM", "image/x-minolta-mrw"),
)
MAKERS = {"canon": "cr2", "nikon": "nef", "sony": "arw", "pentax": "pef", "samsung": "srw"}


def preview(data: bytes) -> tuple[bytes, int]:
    """The largest JPEG in the file, if it shows the whole picture, and the orientation that the file tells.

    UnsupportedImage where there is none of full size: a thumbnail isn't the picture.
    """
    tags = _directories(data)
    found = max(_previews(data), key=lambda one: one[1] * one[2], default=None)
    sensor = max([side for one in tags for side in _sides(one)] + _sides_in_head(data), default=0)
    if data[8:12] in tiff.PHASE_ONE:
        sensor = 0  # their tags are the thumbnail's
    least = LEAST_SHARE * sensor if sensor else LEAST_SIDE
    if found is None or max(found[1:]) < least:
        raise UnsupportedImage.variant("A camera's raw file without a preview of full size")
    orientation = next((one[tiff.ORIENTATION] for one in tags if tiff.ORIENTATION in one), 1)
    return data[found[0] :], orientation if isinstance(orientation, int) else 1


def _directories(data: bytes) -> list[tiff.Tags]:
    if data[4:8] == b"ftyp":  # a CR3 has one for the picture in a box
        place = data.find(b"CMT1", 0, HEAD) + 4
        return [*tiff.directories(data[place : place + HEAD])] if place > 4 else []
    return [*tiff.directories(data)] if data[:2] in (b"II", b"MM") else []


def _previews(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Place, width and height of each JPEG in the file."""
    for count, found in enumerate(START.finditer(data)):
        if count >= MAX_PREVIEWS:
            return
        if size := jpeg.size(data, found.start()):
            yield found.start(), *size


def _sides(tags: tiff.Tags) -> list[int]:
    return [tags[tag] for tag in (*tiff.SENSOR, tiff.WIDTH, tiff.LENGTH) if isinstance(tags.get(tag), int)]


def _sides_in_head(data: bytes) -> list[int]:
    """The sensor's, of the makers that have no TIFF tags for them."""
    if data.startswith(b"FOVb"):
        return [*struct.unpack("<II", data[28:36])] if len(data) >= 36 else []
    if not data.startswith(b"FUJIFILM"):
        return []
    place = int.from_bytes(data[92:96], "big")  # of a number of entries, each with its tag and its length
    count, place = min(int.from_bytes(data[place : place + 4], "big"), MAX_ENTRIES), place + 4
    for _ in range(count):
        tag, length = struct.unpack(">HH", data[place : place + 4].ljust(4, b"\0"))
        if tag == FUJI_SIZE and length == 4:
            return [*struct.unpack(">HH", data[place + 4 : place + 8].ljust(4, b"\0"))]
        place += 4 + length
    return []


def mime_type(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "image/x-canon-cr3"
    for start, kind in TYPES:
        if data.startswith(start):
            return kind
    tags = next(tiff.directories(data), {})
    if tiff.DNG_VERSION in tags:
        return "image/x-adobe-dng"
    maker = str(tags.get(tiff.MAKE, "")).split(" ")[0].lower()
    return f"image/x-{maker}-{MAKERS[maker]}" if maker in MAKERS else "image/x-raw"
