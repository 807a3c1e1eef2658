"""TIFF's variants: those that Pillow gets wrong or can't read, and raw files. Source: TIFF 6.0."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from PIL import ImagePalette
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2, TiffImageFile

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, ROWS_PER_STRIP, PLANAR = 274, 277, 278, 284
PALETTE, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, SUB_IFDS, FORMAT = 320, 322, 323, 324, 330, 339
MAKE, DNG_VERSION = 271, 50706
SIDES = {WIDTH, LENGTH, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH}
SIDES_TYPES = {3, 4, 16}  # SHORT, LONG and BigTIFF's LONG8
SEPARATE = 2  # planar configuration
FLOAT = 3  # sample format
RAW_PHOTOMETRICS = {32803, 34892}  # colour filter array, linear raw
RAW_COMPRESSIONS = {32767, 32770, 34713, 65535}  # Sony's, Samsung's, Nikon's, Pentax's
PHOTOMETRICS = {5: "CMYK", 6: "YCbCr", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32844: "LogL", 32845: "LogLuv"}
COMPRESSIONS = {34712: "JPEG 2000", 34887: "LERC", 34933: "PNG", 34934: "JPEG XR", 50001: "WebP"}
COMPRESSIONS |= {50002: "JPEG XL", 52546: "JPEG XL"}
PHASE_ONE = (b"IIII", b"MMMM")  # behind the first eight bytes
MAX_DIRECTORIES = 32
SENSOR = (2, 3)  # Panasonic's tags for its sides
# All that is read of a directory: of millions of values, each in a tag that nobody needs takes seconds.
READ = {
    *(WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, TILE_OFFSETS, SUB_IFDS, FORMAT),
    *(MAKE, DNG_VERSION, *SENSOR),
}
Tags = dict[int, Any]


def directories(data: bytes) -> Iterator[Tags]:
    """The tags of each image and sub-image, as far as they can be read."""
    _, big, place = _beginning(data)
    waiting, seen = [place], set[int]()
    while waiting and len(seen) < MAX_DIRECTORIES:
        place = waiting.pop(0)
        if not place or place in seen:
            continue
        seen.add(place)
        tags = _directory(data, place, big)
        yield tags
        waiting += [tags.pop(-1, 0), *_all(tags.get(SUB_IFDS, ()))[:MAX_DIRECTORIES]]


def _beginning(data: bytes) -> tuple[str, bool, int]:
    """The order of its bytes, whether it is BigTIFF, and the place of the first directory."""
    big = data[2:4] in (b"+\0", b"\0+")
    order = ">" if data[:2] == b"MM" else "<"
    return order, big, _number(data, order, big, 8 if big else 4)


def _number(data: bytes, order: str, big: bool, place: int) -> int:
    form = struct.Struct(order + ("Q" if big else "I"))
    return int(form.unpack(data[place : place + form.size].ljust(form.size, b"\0"))[0])


def _directory(data: bytes, place: int, big: bool) -> Tags:
    """Tags by number; that of the next directory's place is -1."""
    # Pillow knows only II*\0, and so on, but any camera's directories have the same form.
    head = data[:2] + (data[2:16] if big else (b"*\0" if data[:2] == b"II" else b"\0*") + data[4:8])
    try:
        directory = ImageFileDirectory_v2(head)
        file = BytesIO(data)
        file.seek(place)
        directory.load(file)
        found = {tag: directory[tag] for tag in READ if tag in directory}
        return found | {-1: directory.next or 0}
    except Exception:  # as every reader of a stranger's bytes
        return {}


def is_raw(data: bytes) -> bool:
    """Whether it is a camera's raw file, whose first image is but a thumbnail."""
    if data[8:10] == b"CR" or data[8:12] in PHASE_ONE:
        return True
    return any(
        DNG_VERSION in tags
        or tags.get(PHOTOMETRIC) in RAW_PHOTOMETRICS
        or tags.get(COMPRESSION) in RAW_COMPRESSIONS
        for tags in directories(data)
    )


def open_(data: bytes) -> TiffImageFile:
    """The first picture, with Pillow's errors put right."""
    image = TiffImageFile(BytesIO(data))
    tags = image.tag_v2
    if image.mode == "P" and (colours := tags.get(PALETTE)) and max(colours) < 256:
        # Old writers gave 8 bits where TIFF has 16.
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    if tags.get(PLANAR) == SEPARATE and max(_all(tags.get(BITS))) == 16 and image.tile[0].codec_name == "raw":
        # Pillow itself takes uncompressed planes for those of 8 bits; libtiff doesn't.
        raw_mode = f"{image.mode};16N"
        arguments = (raw_mode, False, tags.offset)
        image.tile = [image.tile[0]._replace(codec_name="libtiff", offset=0, args=arguments)]
        image.use_load_libtiff = True
    return image


def has_plain_sides(data: bytes) -> bool:
    """Whether the first directory tells each side once and as a whole number.

    libtiff, which decodes, reads others, too, and the first of two: bounds on Pillow's would be of no use.
    """
    order, big, place = _beginning(data)
    entry = struct.Struct(order + ("HH16x" if big else "HH8x"))
    begin = place + (8 if big else 2)
    (count,) = struct.unpack(order + "H", data[place : place + 2].ljust(2, b"\0"))
    if big:
        count = _number(data, order, big, place)
    end = begin + min(count, (len(data) - begin) // entry.size) * entry.size
    told = [(tag, kind) for tag, kind in entry.iter_unpack(data[begin:end]) if tag in SIDES]
    return len({tag for tag, _ in told}) == len(told) and all(kind in SIDES_TYPES for _, kind in told)


def tile_size(image: TiffImageFile) -> tuple[int, int]:
    """Of one of its tiles, which may be larger than the picture; (0, 0) where it has none."""
    width, length = (image.tag_v2.get(tag) for tag in (TILE_WIDTH, TILE_LENGTH))
    return (width, length) if isinstance(width, int) and isinstance(length, int) else (0, 0)


def is_inverted(image: TiffImageFile) -> bool:
    """Whether the picture has white as zero in a depth in which Pillow leaves it so."""
    return image.tag_v2.get(PHOTOMETRIC) == 0 and image.mode.startswith(("I", "F"))


def refusal(data: bytes, error: Exception) -> str | None:
    """The variant that isn't read; None for one that should have been."""
    if data[:4] == b"MM\0+":
        return "Big-endian BigTIFF"
    tags = next(directories(data), {})
    depth, photometric = max(_all(tags.get(BITS, 1))), int(tags.get(PHOTOMETRIC, 1))
    if FLOAT in _all(tags.get(FORMAT, 1)):
        return f"TIFF with floating-point samples of {depth} bits"
    if depth not in (1, 2, 4, 8, 16):
        return f"TIFF with {depth} bits per sample"
    if "unknown pixel mode" in str(error):
        layout = " in tiles" if TILE_OFFSETS in tags else ""
        space = PHOTOMETRICS.get(photometric, f"photometric interpretation {photometric}")
        return f"TIFF in {space} with {tags.get(SAMPLES, 1)} samples of {depth} bits{layout}"
    number = tags.get(COMPRESSION, 1)
    if number in COMPRESSIONS:
        return f"TIFF compressed with {COMPRESSIONS[number]}"
    return f"TIFF with compression {number}" if number not in COMPRESSION_INFO else None


def _all(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
