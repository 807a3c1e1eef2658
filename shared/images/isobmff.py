"""The boxes of AVIF, HEIF and Canon's CR3 files. Source: ISO/IEC 14496-12 and 23008-12."""

from __future__ import annotations

AVIF = {b"avif", b"avis"}
HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2"}
SEQUENCES = {b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"}


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


def refusal(data: bytes) -> str | None:
    """The variant that no decoder of ours knows; None where the file should have been decoded."""
    if SEQUENCES & {*brands(data)} and b"meta" not in data[:4096]:
        return "A HEIF sequence without a picture"
    return "Uncompressed HEIF" if b"unci" in data and b"hvc1" not in data else None


def has_alpha(data: bytes) -> bool:
    return b":auxid:1\0" in data or b":auxiliary:alpha\0" in data


def without_alpha(data: bytes) -> bytes:
    """The same file, whose alpha channel no decoder finds."""
    return data.replace(b":auxid:1\0", b":auxid:0\0").replace(b":auxiliary:alpha\0", b":auxiliary:_lpha\0")
