"""The chunks of a PNG, put together anew from those that its pixels need. Source: W3C PNG, third edition."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from shared.images.colours import MAX_PROFILE

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Name -> length, where there is but one, of the chunks besides header, data and end.
KEPT = {b"PLTE": None, b"tRNS": None, b"eXIf": None, b"gAMA": 4, b"sRGB": 1}
GREY, RGB, PALETTE = 0, 2, 3  # colour types that tRNS is for
DEPTHS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Chunk:
    name: bytes
    body: bytes
    is_whole: bool  # by length and checksum


def chunks(data: bytes) -> Iterator[Chunk]:
    """All chunks until the end; the last one may be cut off."""
    place = len(SIGNATURE)
    while place + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        checksum = data[place + 8 + length : place + 12 + length]
        is_whole = len(body) == length and checksum == zlib.crc32(name + body).to_bytes(4, "big")
        yield Chunk(name=name, body=body, is_whole=is_whole)
        place += 12 + length
        if name == b"IEND":
            return


def clean(data: bytes) -> bytes:
    """The same picture in a file that has its header, palette, colours and pixels, whole or not, and no more.

    Text, further frames of an animation, and damage beside the pixels are left out.
    """
    kept: dict[bytes, bytes] = {}
    pixels: list[bytes] = []
    found = [*chunks(data)]
    for number, chunk in enumerate(found):
        if number == 0 and not (chunk.name == b"IHDR" and chunk.is_whole):
            raise ValueError("broken header")
        if chunk.name == b"IDAT":
            pixels.append(chunk.body)
        elif number == 0:
            kept[chunk.name] = chunk.body
        elif chunk.is_whole and (not pixels or chunk.name == b"eXIf") and (body := _readable(chunk, kept)):
            kept.setdefault(chunk.name, body)
    parts = [*kept.items(), (b"IDAT", _frame(found) or b"".join(pixels)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_written(name, body) for name, body in parts)


def _readable(chunk: Chunk, before: Mapping[bytes, bytes]) -> bytes:
    """The body as Pillow wants it; empty where browsers pass the chunk over, and Pillow refuses the file."""
    if chunk.name == b"tRNS":
        return _transparency(chunk.body, before[b"IHDR"], before.get(b"PLTE", b""))
    return chunk.body if KEPT.get(chunk.name, 0) in (None, len(chunk.body)) else b""


def _transparency(body: bytes, header: bytes, palette: bytes) -> bytes:
    """A palette's opacities, or the transparent colour in the depth to which Pillow scales the pixels."""
    if len(header) < 10 or header[8] not in DEPTHS:
        return b""
    depth, colours = header[8], header[9]
    if colours == PALETTE:
        return body[: len(palette) // 3]
    samples = {GREY: 1, RGB: 3}.get(colours, 0)
    if len(body) < 2 * samples:
        return b""
    most = (1 << depth) - 1
    values = struct.unpack_from(f">{samples}H", body)
    return struct.pack(f">{samples}H", *((value & most) * (255 // most or 1) for value in values))


def _frame(found: Sequence[Chunk]) -> bytes:
    """The first frame of an animation that leaves the still picture out, as browsers then do; else empty."""
    names = [chunk.name for chunk in found if chunk.name in (b"acTL", b"fcTL", b"IDAT")]
    if names[:2] != [b"acTL", b"IDAT"]:
        return b""
    frames = itertools.dropwhile(lambda chunk: chunk.name != b"fcTL", found)
    control = next(frames, None)
    whole_screen = found[0].body[:8] + bytes(8)  # a smaller one would need its surroundings
    if control is None or not control.is_whole or control.body[4:20] != whole_screen:
        return b""
    of_first = itertools.takewhile(lambda chunk: chunk.name != b"fcTL", frames)
    parts = [chunk for chunk in of_first if chunk.name == b"fdAT"]
    return b"".join(part.body[4:] for part in parts) if all(part.is_whole for part in parts) else b""


def is_deep(data: bytes) -> bool:
    """Whether a cleaned file has 16 bits per sample."""
    return data[24] == 16


def lower_transparency(image: Image.Image) -> None:
    """Has the transparent colour in the depth of the loaded pixels, which Pillow lowers to 8 bits."""
    colour = image.info.get("transparency")
    if isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def profile(data: bytes) -> bytes:
    """The ICC profile in a file; empty where it has none, or one that is broken or too large.

    Pillow would refuse the file for a profile of more than 1 MiB.
    """
    before = itertools.takewhile(lambda chunk: chunk.name != b"IDAT", chunks(data))
    body = next((chunk.body for chunk in before if chunk.name == b"iCCP" and chunk.is_whole), b"")
    _, _, packed = body.partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(packed[1:], MAX_PROFILE)
    except zlib.error:
        return b""
    return found if unpacking.eof else b""


def _written(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
