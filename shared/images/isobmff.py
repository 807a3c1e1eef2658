"""The boxes of AVIF, HEIF and Canon's CR3 files. Source: ISO/IEC 14496-12 and 23008-12."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

HEAD = 1024 * 1024  # bytes in which a file tells of its items
ITEM = re.compile(rb"infe(?:\x02.{7}|\x03.{9})(.{4})", re.DOTALL)  # its type
SIZE = re.compile(rb"\0\0\0\x14ispe\0{4}(.{8})", re.DOTALL)
AVIF = {b"avif", b"avis"}
HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2"}
SEQUENCES = {b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"}
# A part of libheif's message -> the variant that it refuses, though a file may be so by the standard.
BEYOND_LIBHEIF = {
    "exceeds the maximum image size": "HEIF whose coded picture is much larger than the one it shows",
    "double references": "HEIF that refers to one picture several times",
    "Security limit exceeded": "HEIF of more parts than its decoder takes",
}
OUT_OF_MEMORY = re.compile(r"Allocating \d+ bytes failed")  # libheif's message
# Type of an item that isn't decoded -> how it is compressed.
CODECS = {
    b"unci": "uncompressed",
    b"avc1": "compressed with H.264",
    b"lhv1": "in layers",
    b"jpeg": "compressed with JPEG",
    b"j2k1": "compressed with JPEG 2000",
    b"vvc1": "compressed with VVC",
}


def brands(data: bytes) -> list[bytes]:
    """The major brand and the compatible ones."""
    end = min(int.from_bytes(data[:4], "big"), 1024)
    return [data[8:12], *(data[place : place + 4] for place in range(16, end, 4))]


def kind(data: bytes) -> str | None:
    """AVIF, HEIF or RAW; None for a video."""
    found = brands(data)
    if found[0] == b"crx ":
        return "RAW"
    if found[0] in AVIF or (found[0] in HEIF and AVIF & {*found}):
        return "AVIF"
    return "HEIF" if HEIF & {*found} else None


def refusal(data: bytes, error: Exception) -> str | None:
    """The variant that no decoder of ours knows; None where the file should have been decoded."""
    if variant := next((told for part, told in BEYOND_LIBHEIF.items() if part in str(error)), None):
        return variant
    if SEQUENCES & {*brands(data)} and b"meta" not in data[:4096]:
        return "A HEIF sequence without a picture"
    types = {*ITEM.findall(data[:HEAD])}
    found = next((codec for kind, codec in CODECS.items() if kind in types), None)
    return f"HEIF {found}" if found and (b"hvc1" not in types or b"lhv1" in types) else None


def size(data: bytes) -> tuple[int, int] | None:
    """Width and height of the largest picture that an AVIF or HEIF tells of, which the whole one is."""
    sides = (struct.unpack(">II", found) for found in SIZE.findall(data[:HEAD]))
    return max(sides, key=lambda one: one[0] * one[1], default=None)


def has_alpha(data: bytes) -> bool:
    return b":auxid:1\0" in data or b":auxiliary:alpha\0" in data


def without_alpha(data: bytes) -> bytes:
    """The same AVIF, whose alpha channel no decoder finds."""
    found = re.search(rb"auxl(..)", data[:HEAD], re.DOTALL)  # a reference from that item
    if not found:
        return data
    of_alpha = re.compile(rb"(infe\x02...%s..)av01" % re.escape(found[1]), re.DOTALL)
    return of_alpha.sub(rb"\1none", data, count=1)


def clean(data: bytes) -> bytes:
    """An AVIF with the properties of its items in one table. Old encoders wrote one for each item.

    Browsers read them; libavif refuses more than one.
    """
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            for inner, begin, stop in _boxes(data, start + 12, end):
                if inner == b"iprp":
                    return _in_one_table(data, begin, stop)
    return data


def _in_one_table(data: bytes, start: int, end: int) -> bytes:
    """`start` and `end` are those of the box that holds the properties, and then the tables."""
    tables = [(begin, stop) for kind, begin, stop in _boxes(data, start + 8, end) if kind == b"ipma"]
    heads = {data[begin + 4 : begin + 12] for begin, _ in tables}  # kind, version and flags
    if len(tables) < 2 or len(heads) > 1 or tables[-1][1] != end:
        return data
    count = sum(int.from_bytes(data[begin + 12 : begin + 16], "big") for begin, _ in tables)
    entries = b"".join(data[begin + 16 : stop] for begin, stop in tables)
    table = _sized(heads.pop() + count.to_bytes(4, "big") + entries)
    first = tables[0][0]
    spare = end - first - len(table)  # filled, so that nothing else in the file moves
    properties = _sized(data[start + 4 : first] + table)
    return data[:start] + properties + _sized(b"free" + bytes(spare - 8)) + data[end:]


def _sized(content: bytes) -> bytes:
    return (len(content) + 4).to_bytes(4, "big") + content


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each box, as far as their sizes make sense."""
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4], "big")
        if not 8 <= size <= end - start:
            return
        yield data[start + 4 : start + 8], start, start + size
        start += size
