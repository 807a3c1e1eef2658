"""Files that people really have: decoded as a browser shows them, or refused with the true reason."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw
from PIL.AvifImagePlugin import AvifImageFile
from test_decoding import at, chunk, decoded, same, saved, scene

from shared.errors import (
    BrokenImage,
    ImageError,
    ImageTooLong,
    IncompleteImage,
    NotAnImage,
    TooManyPixels,
    UnsupportedImage,
)
from shared.images import bmp, decode

CASES = Path(__file__).parent / "cases"
BLOCK = 64 * 1024  # bytes that Pillow reads at a time
SCENE = (154.5, 132.9, 47.9)  # mean of the picture that most of them show

# File -> mean colour that a browser shows on white (of TIFFs: libvips), or the refusal; and why it is a case.
EXPECTED: dict[str, tuple[tuple[float, float, float] | tuple[type[ImageError], str], str]] = {
    "gif-first-frame-smaller-than-screen.gif": ((255, 214.2, 214.2), "the screen around it is transparent"),
    "jpeg-arithmetic.jpg": ((166.8, 75.3, 103.0), "browsers don't show it, other viewers do"),
    "jpeg-icc-red-blue-swapped.jpg": ((154.3, 132.9, 48.9), "its profile says which colours are meant"),
    "jpeg-last-20-bytes-missing.jpg": ((158.1, 133.1, 54.1), "all but the last row of blocks is there"),
    "jpeg-no-eoi.jpg": ((154.1, 132.9, 48.1), "all pixels are there"),
    "one-pixel-wide.png": ((ImageTooLong, "1 x 100000000 pixels"), "a line costs seconds and gigabytes"),
    "png-2MB-ztxt-xmp.png": (SCENE, "text beside the pixels is nobody's business"),
    "png-black-logo-transparent.png": ((166.9, 166.9, 166.9), "black shows on white"),
    "png-grey16-trns.png": ((70.6, 70.6, 70.6), "one deep grey is transparent"),
    "png-no-iend.png": (SCENE, "all pixels are there"),
    "png-text-bad-crc.png": (SCENE, "damage beside the pixels"),
    "png-white-logo-transparent.png": ((88.1, 88.1, 88.1), "white vanishes on white: it lies on black"),
    "png-xmp-orientation-3.png": (SCENE, "browsers turn nothing by XMP"),
    "tiff-palette-8bit-colormap.tif": (SCENE, "old writers gave palettes 8 bits"),
    "tiff-rgb16-planar-littleendian.tif": (SCENE, "planes of 16 bits, uncompressed"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_case_is_decoded_right_or_refused_with_its_true_reason(name: str) -> None:
    expected, _why = EXPECTED[name]
    data = (CASES / name).read_bytes()
    if isinstance(expected[0], type):
        with pytest.raises(expected[0], match=str(expected[1])):
            decoded(data)
    else:
        mean = np.asarray(decoded(data).picture).reshape(-1, 3).mean(0)
        assert np.abs(mean - expected).max() < 6, f"{mean} instead of {expected}"


@pytest.mark.parametrize("at", [200, 400, 600])
def test_a_longer_jpeg_of_arithmetic_coding_is_decoded_whole(at: int) -> None:
    data = (CASES / "jpeg-arithmetic.jpg").read_bytes()
    note = b"Exif\0\0".ljust(BLOCK - len(data) + at, b"\0")  # its coding can't go on in another block
    longer = data[:2] + b"\xff\xe1" + struct.pack(">H", len(note) + 2) + note + data[2:]
    found = decoded(longer)
    assert found.shown == 1 and np.array_equal(found.picture, decoded(data).picture)


def test_the_table_has_every_case() -> None:
    assert {path.name for path in CASES.iterdir()} == {*EXPECTED}


def drawing(kind: str, colour: str = "white") -> Image.Image:
    picture = Image.new("RGBA", (128, 128))
    draw = ImageDraw.Draw(picture)
    if kind == "disc":
        draw.ellipse([20, 20, 108, 108], fill=colour)
    elif kind == "ring":
        draw.ellipse([15, 15, 113, 113], outline=colour, width=14)
    else:
        draw.rectangle([54, 10, 74, 118], fill=colour)
        draw.rectangle([10, 54, 118, 74], fill=colour)
    return picture


@pytest.mark.parametrize("colour", ["white", "#fffff0", "#f0f0f0"])
@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF", "palette", "grey", "deep"])
def test_white_drawings_on_nothing_differ(form: str, colour: str) -> None:
    files = [transparent_file(drawing(kind, colour), form) for kind in ("disc", "ring", "bars")]
    assert len({decoded(file).picture.tobytes() for file in files}) == 3
    image = decoded(files[0])
    assert max(at(image, 0.02, 0.02)) < 20 and min(at(image, 0.5, 0.5)) > 200


def transparent_file(picture: Image.Image, form: str) -> bytes:
    if form == "palette":
        return saved(picture.quantize(8, Image.Quantize.FASTOCTREE), "PNG")
    if form == "grey":
        return saved(picture.convert("LA"), "PNG")
    if form == "deep":
        grey = np.asarray(picture.convert("LA")).astype(np.uint16) * 257
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in grey)
        header = struct.pack(">IIBBBBB", *picture.size, 16, 4, 0, 0, 0)
        return png(chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return saved(picture, form, **({"lossless": True} if form == "WEBP" else {}))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_what_shows_on_white_lies_on_white() -> None:
    for colour in ("black", "red", "yellow", "#d0d0d0"):
        assert same(at(decoded(saved(drawing("disc", colour), "PNG")), 0.02, 0.02), (255, 255, 255))
    outlined = drawing("disc")
    ImageDraw.Draw(outlined).ellipse([20, 20, 108, 108], outline="black", width=3)
    assert same(at(decoded(saved(outlined, "PNG")), 0.02, 0.02), (255, 255, 255))


def test_a_white_page_without_transparency_stays_white() -> None:
    assert same(at(decoded(saved(Image.new("RGBA", (9, 9), "white"), "PNG")), 0.5, 0.5), (255, 255, 255))
    assert same(at(decoded(saved(Image.new("RGBA", (9, 9)), "PNG")), 0.5, 0.5), (255, 255, 255))


def swapped_profile() -> bytes:
    """A profile whose red is blue: the case's own."""
    with Image.open(CASES / "jpeg-icc-red-blue-swapped.jpg") as image:
        profile: bytes = image.info["icc_profile"]
        return profile


def lab_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_says_which_colours_are_meant(kind: str) -> None:
    image = decoded(saved(scene(), kind, icc_profile=swapped_profile()))
    assert same(at(image, 0.1, 0.9), (30, 30, 200), 25) and same(at(image, 0.9, 0.9), (200, 30, 30), 25)


def test_a_profile_is_applied_where_a_large_picture_is_reduced() -> None:
    image = decoded(saved(scene((2000, 1500)), "PNG", icc_profile=swapped_profile()), 224)
    assert image.picture.size < (2000, 1500) and same(at(image, 0.1, 0.9), (30, 30, 200))


def test_what_is_transparent_stays_so_under_a_profile() -> None:
    picture = drawing("disc", "red")
    image = decoded(saved(picture, "PNG", icc_profile=swapped_profile()))
    assert same(at(image, 0.5, 0.5), (0, 0, 255), 25) and same(at(image, 0.02, 0.02), (255, 255, 255))


@pytest.mark.parametrize(
    "profile",
    [
        b"broken",
        swapped_profile()[:200],
        bytes(5_000_000),
        lab_profile(),
    ],
    ids=["broken", "cut off", "5 MB", "of another kind"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_profile_that_makes_no_sense_changes_nothing(kind: str, profile: bytes) -> None:
    image = decoded(saved(scene(), kind, icc_profile=profile))
    assert same(at(image, 0.1, 0.9), (200, 30, 30), 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_an_orientation_in_xmp_turns_nothing(kind: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    if kind == "PNG":
        data = saved(scene(), kind)
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
        data = data[:33] + chunk(b"iTXt", text) + data[33:]
    else:
        data = saved(scene(), kind, **({"tiffinfo": {700: xmp}} if kind == "TIFF" else {"xmp": xmp}))
    assert same(at(decoded(data), 0.1, 0.9), (200, 30, 30), 25)


def test_a_png_s_gamma_is_obeyed_as_in_browsers() -> None:
    data = saved(scene(), "PNG")
    image = decoded(data[:33] + chunk(b"gAMA", struct.pack(">I", 100_000)) + data[33:])
    assert same(at(image, 0.1, 0.9), (229, 96, 96), 3)
    usual = decoded(data[:33] + chunk(b"gAMA", struct.pack(">I", 45_455)) + data[33:])
    assert same(at(usual, 0.1, 0.9), (200, 30, 30), 1)


TEXT = b"x" * 1_100_000
BESIDE = {
    "zTXt": chunk(b"zTXt", b"k\0\0" + zlib.compress(TEXT)),
    "iTXt": chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(TEXT)),
    "iCCP": chunk(b"iCCP", b"k\0\0" + zlib.compress(TEXT)),
    "broken zTXt": chunk(b"zTXt", b"k\0\0broken"),
    "broken iCCP": chunk(b"iCCP", b"k\0\0broken"),
    "broken eXIf": chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
    "broken pHYs": chunk(b"pHYs", b"1"),
    "broken tIME, cHRM, bKGD": b"".join(chunk(name, b"") for name in (b"tIME", b"cHRM", b"bKGD")),
    **{
        f"{name.decode()} with a wrong CRC": chunk(name, bytes(9))[:-4] + b"oops"
        for name in (b"tEXt", b"iCCP", b"gAMA", b"acTL")
    },
    **{f"gAMA of {size}": chunk(b"gAMA", bytes(size)) for size in (0, 1, 3, 5)},
    **{f"sRGB of {size}": chunk(b"sRGB", bytes(size)) for size in (0, 2)},
    **{f"tRNS of {size}": chunk(b"tRNS", bytes(size)) for size in (0, 1, 3, 5)},
    "acTL without frames": chunk(b"acTL", struct.pack(">II", 5, 0)),
    "fcTL of nonsense": chunk(b"acTL", struct.pack(">II", 5, 0)) + chunk(b"fcTL", bytes(3)),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_no_chunk_beside_the_pixels_costs_a_png_its_picture(name: str) -> None:
    data = saved(scene(), "PNG")
    image = decoded(data[:33] + BESIDE[name] + data[33:])
    assert same(at(image, 0.1, 0.9), (200, 30, 30)) and image.mime_type == "image/png"


def two_greys(depth: int, left: int, right: int, *beside: bytes) -> bytes:
    """A PNG of 32 x 16 pixels of these values."""
    bits = "".join(f"{value:0{depth}b}" * 16 for value in (left, right))
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", 32, 16, depth, 0, 0, 0, 0)
    return png(chunk(b"IHDR", header), *beside, chunk(b"IDAT", zlib.compress(row * 16)), chunk(b"IEND", b""))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "0000000000000000",
        "000000010000000100",
        "00000001000000010000000000",
        "00000001000000012800000000",
    ],
)
def test_a_png_with_a_broken_header_is_told_as_such_where_it_names_a_transparent_colour(header: str) -> None:
    told = []
    for beside in (b"", chunk(b"tRNS", bytes(2))):
        with pytest.raises(BrokenImage) as refusal:
            decoded(png(chunk(b"IHDR", bytes.fromhex(header)), beside, chunk(b"IEND", b"")))
        told.append(str(refusal.value))
    assert told[0] == told[1]


@pytest.mark.parametrize("transparent", ["black", "next to black", "middle", "white"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("beyond", [0, 1])
def test_the_transparent_grey_of_any_depth_is_transparent(depth: int, transparent: str, beyond: int) -> None:
    most = (1 << depth) - 1
    value = {"black": 0, "next to black": 1, "middle": most // 2, "white": most}[transparent]
    drawn = 0 if value else 1
    told = value + (beyond << depth if depth < 16 else 0)  # the bits beyond the depth say nothing
    image = decoded(two_greys(depth, value, drawn, chunk(b"tRNS", struct.pack(">H", told))))
    ground = 0 if depth == 1 and drawn else 255  # a drawing in white lies on black
    assert same(at(image, 0.25, 0.5), (ground,) * 3) and same(
        at(image, 0.75, 0.5), (drawn * 255 // most,) * 3
    )


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_that_is_cut_off_costs_no_picture(depth: int) -> None:
    image = decoded(two_greys(depth, 1, 0, chunk(b"tRNS", b"\0")))
    assert same(at(image, 0.25, 0.5), (255 // ((1 << depth) - 1),) * 3)


@pytest.mark.parametrize("name", [b"IDAT", b"IEND"])
def test_a_wrong_checksum_of_the_pixels_is_passed_over_as_in_browsers(name: bytes) -> None:
    data = bytearray(saved(scene(), "PNG"))
    place = data.index(name) + 4 + int.from_bytes(data[data.index(name) - 4 : data.index(name)], "big")
    data[place : place + 4] = b"oops"
    assert same(at(decoded(bytes(data)), 0.1, 0.9), (200, 30, 30))


ODD_SEGMENTS = {
    "short JFIF": b"\xff\xe0\0\x04JF",
    "JFIF cut short": b"\xff\xe0\0\x07JFIF\0",
    "broken Exif": b"\xff\xe1\0\x0cExif\0\0\xff\xff\xff\xff",
    "broken Photoshop": b"\xff\xed\0\x12Photoshop 3.0\0\xff\xff",
    "broken MPF": b"\xff\xe2\0\x0aMPF\0\xff\xff\xff\xff",
    "short Adobe": b"\xff\xee\0\x07Adobe",
    "ICC of a missing part": b"\xff\xe2\0\x14ICC_PROFILE\0\x01\x02xxxx",
    "length whose low byte is FF": b"\xff\xfe\x01\xff" + b"\xff" * 509,
    "unknown": b"\xff\xef\0\x03x",
}


@pytest.mark.parametrize("name", ODD_SEGMENTS)
@pytest.mark.filterwarnings("ignore")
def test_no_odd_segment_costs_a_jpeg_its_picture(name: str) -> None:
    data = saved(scene(), "JPEG")
    for begin in (data[:2], data[:20]):  # instead of JFIF's segment, and behind it
        image = decoded(begin + ODD_SEGMENTS[name] + data[20:])
        assert same(at(image, 0.1, 0.9), (200, 30, 30), 25)


def test_a_gif_s_screen_shows_through_around_its_first_frame() -> None:
    frame = saved(Image.new("RGB", (10, 10), "red"), "GIF")
    image_at = frame.index(b",", 13)
    moved = struct.pack("<HH", 30, 5)
    data = frame[:6] + struct.pack("<HH", 50, 40) + frame[10 : image_at + 1] + moved + frame[image_at + 5 :]
    image = decoded(data)
    assert image.picture.size == (50, 40) and same(at(image, 0.1, 0.9), (255, 255, 255))
    assert same(at(image, 34 / 49, 9 / 39), (255, 0, 0))
    assert decoded(data, 8).picture.size == (25, 20)  # reduced alike


@pytest.mark.parametrize("bits", [12, 16])
def test_a_jpeg_of_more_bits_says_so(bits: int) -> None:
    data = saved(scene(), "JPEG")
    place = data.index(b"\xff\xc0") + 4
    with pytest.raises(UnsupportedImage, match=f"^JPEG with {bits} bits per sample isn't supported"):
        decoded(data[:place] + bytes([bits]) + data[place + 1 :])


@pytest.mark.parametrize(
    ("marker", "name"), [(0xC3, "Lossless JPEG"), (0xC5, "Hierarchical JPEG"), (0xF7, "JPEG-LS")]
)
def test_other_kinds_of_jpeg_say_so(marker: int, name: str) -> None:
    data = saved(scene(), "JPEG").replace(b"\xff\xc0", bytes([0xFF, marker]), 1)
    with pytest.raises(UnsupportedImage, match=f"^{name} isn't supported"):
        decoded(data)


def tiff(order: str, tags: dict[int, tuple[int, list[int]]], pixels: bytes, strips: int = 1) -> bytes:
    """A TIFF of equal strips: tag -> type (3: 16 bits, 4: 32 bits) and values."""
    forms, size = {3: "H", 4: "I"}, len(pixels) // strips
    tags = {**tags, 273: (4, [*range(8, 8 + len(pixels), size)]), 279: (4, [size] * strips)}
    place = 8 + len(pixels) + len(pixels) % 2
    far, entries = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{forms[kind]}", *values)
        if len(packed) > 4:
            where = place + 2 + 12 * len(tags) + 4 + len(far)
            packed, far = struct.pack(order + "I", where), far + packed
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, place)
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4) + far
    return head + pixels.ljust(place - 8, b"\0") + directory


def header(
    width: int, height: int, bits: list[int], photometric: int, **more: int
) -> dict[int, tuple[int, list[int]]]:
    numbers = {"planar": 284, "format": 339}
    base = {
        256: [width],
        257: [height],
        258: bits,
        259: [1],
        262: [photometric],
        277: [len(bits)],
        278: [height],
    }
    return {tag: (3, values) for tag, values in base.items()} | {
        numbers[key]: (3, [value] * (len(bits) if key == "format" else 1)) for key, value in more.items()
    }


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_planes_of_16_bits_are_read_in_either_byte_order(order: str, channels: int) -> None:
    pixels = np.asarray(scene().convert("RGB" if channels == 3 else "RGBA")).astype(f"{order}u2") * 257
    planes = np.moveaxis(pixels, 2, 0).astype(f"{order}u2").tobytes()
    tags = header(64, 48, [16] * channels, 2, planar=2)
    image = decoded(tiff(order, tags | ({338: (3, [2])} if channels == 4 else {}), planes, channels))
    assert image.picture.tobytes() == scene().tobytes()


def test_deep_grey_whose_zero_is_white_is_not_inverted() -> None:
    grey = np.full((8, 8), 65535 - 200 * 257, "<u2")
    assert same(at(decoded(tiff("<", header(8, 8, [16], 0), grey.tobytes())), 0.5, 0.5), (200, 200, 200), 1)


UNSUPPORTED_TIFFS = {
    "TIFF with 10 bits per sample": header(8, 8, [10], 1),
    "TIFF with 12 bits per sample": header(8, 8, [12, 12, 12], 2),
    "TIFF with 14 bits per sample": header(8, 8, [14], 1),
    "TIFF with 24 bits per sample": header(8, 8, [24], 1),
    "TIFF with floating-point samples of 16 bits": header(8, 8, [16], 1, format=3),
    "TIFF with floating-point samples of 32 bits": header(8, 8, [32, 32, 32], 2, format=3),
    "TIFF with floating-point samples of 64 bits": header(8, 8, [64], 1, format=3),
    "TIFF in CIELAB with 4 samples of 8 bits": header(8, 8, [8] * 4, 8),
    "TIFF compressed with JPEG XR": header(8, 8, [8], 1) | {259: (3, [34934])},
    "TIFF with compression 65000": header(8, 8, [8], 1) | {259: (3, [65000])},
}


@pytest.mark.parametrize("name", UNSUPPORTED_TIFFS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_s_variant_is_named_where_it_is_not_read(name: str, order: str) -> None:
    with pytest.raises(UnsupportedImage, match=f"^{name} isn't supported.*plain JPEG or PNG"):
        decoded(tiff(order, UNSUPPORTED_TIFFS[name], bytes(8 * 8 * 24)))


def test_a_big_endian_bigtiff_is_named() -> None:
    with pytest.raises(UnsupportedImage, match=r"^Big-endian BigTIFF isn't supported"):
        decoded(b"MM\0+\0\x08\0\0" + struct.pack(">Q", 16) + bytes(64))


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (32, (0xFF, 0xFF00, 0xFF0000, 0)),
        (32, (0xFF00, 0xFF0000, 0xFF000000, 0)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
        (16, (0xF00, 0xF0, 0xF, 0)),
        (16, (0x1F, 0x7E0, 0xF800, 0)),
        (16, (0xF00, 0xF0, 0xF, 0xF000)),
    ],
)
def test_a_bmp_s_bit_fields_are_read_in_any_order(bits: int, masks: tuple[int, ...]) -> None:
    pixels = np.asarray(scene().convert("RGBA")).astype(np.uint64)[::-1]
    packed = np.zeros(pixels.shape[:2], np.uint64)
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1 if mask else 0
        packed |= (pixels[..., channel] * (mask >> shift) // 255) << np.uint64(shift)
    body = packed.astype(f"<u{bits // 8}").tobytes()
    head = struct.pack("<IiiHHIIiiII", 56, 64, 48, 1, bits, 3, len(body), 0, 0, 0, 0) + struct.pack(
        "<4I", *masks
    )
    image = decoded(
        b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body
    )
    assert same(at(image, 0.1, 0.9), (200, 30, 30), 17) and same(at(image, 0.5, 0.02), (30, 200, 30), 17)


def odd_bmp(width: int, height: int, body: bytes) -> bytes:
    """Of 16 bits a pixel, with red and blue the other way round."""
    head = struct.pack("<IiiHHIIiiII4I", 56, width, height, 1, 16, 3, 0, 0, 0, 0, 0, 0x1F, 0x7E0, 0xF800, 0)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body


def test_a_bmp_s_size_is_checked_before_its_bit_fields_are_looked_at() -> None:
    with pytest.raises(TooManyPixels, match="20000 x 20000"):
        decoded(odd_bmp(20_000, -20_000, b""))


def test_a_bmp_s_bit_fields_are_reordered_some_rows_at_a_time() -> None:
    data = odd_bmp(1000, 1000, bytes(2_000_000))
    bmp.clean(data)  # numpy is imported
    tracemalloc.start()
    bmp.clean(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(data)  # the result, which takes two bytes for one, twice, and a band


@pytest.mark.parametrize("blue", [0xFF, 0xFF000000])
def test_a_bmp_s_four_bit_fields_behind_a_short_header_have_alpha(blue: int) -> None:
    masks = (0xFF0000, 0xFF00, blue, 0xFF ^ 0xFF000000 ^ blue)
    pixel = struct.pack("<I", masks[0] & (0xFFFFFFFF ^ masks[3]))  # red, and all of it transparent
    head = struct.pack("<IiiHHIIiiII4I", 40, 4, 4, 1, 32, 6, 64, 0, 0, 0, 0, *masks)
    opaque = struct.pack("<I", masks[0] | masks[3])
    image = decoded(b"BM" + struct.pack("<IHHI", 134, 0, 0, 70) + head + opaque * 8 + pixel * 8)
    assert same(at(image, 0.5, 0.9), (255, 0, 0)) and same(at(image, 0.5, 0.1), (255, 255, 255))


def plain_bmp(header: int, alphas: tuple[int, int], mask: int) -> bytes:
    """Of 32 bits without bit fields: red, its rows below and above of two opacities."""
    head = struct.pack("<IiiHHIIiiII4I", header, 4, 4, 1, 32, 0, 64, 0, 0, 0, 0, 0xFF0000, 0xFF00, 0xFF, mask)
    offset = 14 + header
    body = b"".join(bytes([0, 0, 255, alpha]) * 8 for alpha in alphas)
    return b"BM" + struct.pack("<IHHI", offset + 64, 0, 0, offset) + head.ljust(header, b"\0") + body


@pytest.mark.parametrize(
    "header, alphas, mask, above",
    [
        (108, (255, 0), 0xFF000000, 255),
        (124, (255, 128), 0xFF000000, 127),
        (124, (0, 0), 0xFF000000, 0),
        (124, (255, 128), 0, 0),
        (56, (255, 128), 0xFF000000, 0),
    ],
    ids=["half transparent", "half of it", "nothing told", "no mask", "a shorter header"],
)
def test_a_bmp_s_alpha_is_where_its_header_tells(
    header: int, alphas: tuple[int, int], mask: int, above: int
) -> None:
    image = decoded(plain_bmp(header, alphas, mask))
    assert same(at(image, 0.5, 0.9), (255, 0, 0)) and same(at(image, 0.5, 0.1), (255, above, above))


def run_lengths(bits: int, end: bytes) -> bytes:
    """A BMP of 64 x 300 pixels of which four rows, the lowest, are there: blue, red pixel by pixel, blue."""
    codes = b"\x40\0\0\0" + b"\0\x40" + b"\x11" * (8 * bits) + b"\0\0" + b"\x40\0\0\0" * 2
    head = struct.pack("<IiiHHIIiiII", 40, 64, 300, 1, bits, 3 - bits // 4, 0, 0, 0, 2 + 254 * (bits == 8), 0)
    palette = b"\xff\0\0\0\0\0\xff\0"
    if bits == 8:
        palette += b"\0\0\xff\0" * 254
    offset = 54 + len(palette)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, offset) + head + palette + codes + end


@pytest.mark.parametrize("bits", [4, 8])
def test_a_bmp_whose_run_lengths_end_early_lacks_nothing(bits: int) -> None:
    image = decoded(run_lengths(bits, b"\0\1"))
    assert (image.width, image.height, image.shown) == (64, 300, 1)
    colours = [image.picture.getpixel((40, row)) for row in (0, 150, 297, 298, 299)]
    blue, red = (0, 0, 255), (255, 0, 0)
    assert colours == [blue, blue, blue, red, blue]
    with pytest.raises(IncompleteImage, match="Only 1%"):
        decoded(run_lengths(bits, b""))


def test_a_bmp_whose_run_lengths_are_cut_off_is_not_walked_through_for_an_end() -> None:
    data = run_lengths(8, b"\1\5" * 1_000_000)
    with Image.open(BytesIO(data)) as image:
        began = time.process_time()
        assert bmp.completed(data, image) == data
        assert time.process_time() - began < 0.1


def animated(still: Image.Image, *frames: Image.Image) -> bytes:
    """An APNG whose still picture isn't part of the animation."""
    data = saved(still, "PNG", save_all=True, default_image=True, append_images=frames)
    assert data.index(b"acTL") < data.index(b"IDAT") < data.index(b"fcTL")
    return data


def test_an_animation_that_leaves_the_still_picture_out_is_its_first_frame() -> None:
    lime = Image.new("RGB", (64, 48), "lime")
    data = animated(lime, scene(), lime)
    assert np.array_equal(decoded(data).picture, scene())
    assert decoded(data).mime_type == "image/png"


@pytest.mark.parametrize("part", [b"fcTL", b"fdAT"])
def test_an_animation_whose_first_frame_is_damaged_is_its_still_picture(part: bytes) -> None:
    data = bytearray(animated(scene(), Image.new("RGB", (64, 48), "lime"), scene()))
    data[data.index(part) + 9] ^= 1
    assert np.array_equal(decoded(bytes(data)).picture, scene())


def palettes_bmp() -> bytes:
    return saved(scene().quantize(16), "BMP")


@pytest.mark.parametrize("colours", [257, 300, 0x12345678])
def test_a_bmp_s_count_of_colours_may_be_too_large(colours: int) -> None:
    plain = palettes_bmp()
    data = plain[:46] + struct.pack("<I", colours) + plain[50:]
    assert np.array_equal(decoded(data).picture, decoded(plain).picture)


@pytest.mark.parametrize("length", [16, 24, 36])
def test_a_bmp_s_header_may_be_a_short_one_of_os_2(length: int) -> None:
    plain = palettes_bmp()
    offset = struct.unpack("<I", plain[10:14])[0] + length - 40
    start = plain[:10] + struct.pack("<II", offset, length) + plain[18 : 14 + length]
    assert np.array_equal(decoded(start + plain[54:]).picture, decoded(plain).picture)


@pytest.mark.parametrize("bitmap_format", ["bmp", "png"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_an_icon_is_its_largest_picture(mode: str, bitmap_format: str) -> None:
    picture = scene((64, 64)).convert(mode)
    image = decoded(saved(picture, "ICO", sizes=[(16, 16), (64, 64), (32, 32)], bitmap_format=bitmap_format))
    assert (image.width, image.height) == (64, 64)
    assert image.mime_type == ("image/vnd.microsoft.icon")
    assert same(at(image, 0.1, 0.9), (200, 30, 30), 40)


def icon(bits: int, told: int, opacities: tuple[int, int]) -> bytes:
    """An icon of 64 x 48 red pixels of two opacities, whose mask shows the right half alone."""
    pixels = b"".join(bytes([0, 0, 255, opacity])[: bits // 8] * 32 for opacity in opacities) * 48
    mask = b"\xff\xff\xff\xff\0\0\0\0" * 48
    bitmap = struct.pack("<IiiHHIIiiII", 40, 64, 96, 1, bits, 0, 0, 0, 0, 0, 0) + pixels + mask
    return struct.pack("<3H4BHHII", 0, 1, 1, 64, 48, 0, 0, 1, told, len(bitmap), 22) + bitmap


@pytest.mark.parametrize("told", [0, 8, 24, 32], ids="its directory tells {}".format)
@pytest.mark.parametrize(
    "bits, opacities, left, right",
    [
        (32, (255, 0), 0, 255),
        (32, (255, 128), 0, 127),
        (32, (0, 0), 255, 0),
        (24, (0, 0), 255, 0),
    ],
    ids=["opacities", "half opacities", "no opacities", "24 bits"],
)
def test_an_icon_is_as_opaque_as_its_pixels_or_else_its_mask(
    bits: int, told: int, opacities: tuple[int, int], left: int, right: int
) -> None:
    image = decoded(icon(bits, told, opacities))
    assert same(at(image, 0.25, 0.5), (255, left, left)) and same(at(image, 0.75, 0.5), (255, right, right))


def test_an_icon_that_lies_about_its_size_is_refused_by_its_bitmap() -> None:
    data = bytearray(saved(scene((64, 64)), "ICO", sizes=[(64, 64)], bitmap_format="bmp"))
    place = struct.unpack_from("<I", data, 18)[0]
    data[place + 4 : place + 12] = struct.pack("<ii", 60_000, 120_000)
    with pytest.raises(ImageError, match="60000 x 60000"):
        decode(bytes(data), max_bytes=10**6, max_pixels=10**6)


def raw_file(preview: bytes, sensor: tuple[int, int], **more: tuple[int, list[int]]) -> bytes:
    """A DNG, as far as a reader of its preview can tell, with a thumbnail in front."""
    tags = (
        header(*sensor, [16], 32803)
        | {50706: (4, [1 << 24 | 4])}
        | {int(tag[1:]): value for tag, value in more.items()}
    )
    return tiff("<", tags, saved(scene((160, 120)), "JPEG") + preview)


def test_a_raw_file_is_its_preview_of_full_size_with_its_own_dimensions() -> None:
    image = decoded(raw_file(saved(scene((1200, 800)), "JPEG"), (1216, 812)))
    assert (image.width, image.height, image.mime_type) == (1200, 800, "image/x-adobe-dng")
    turned = decoded(raw_file(saved(scene((1200, 800)), "JPEG"), (1216, 812), t274=(3, [6])), 224)
    assert (turned.width, turned.height) == (800, 1200)


@pytest.mark.parametrize("preview", [b"", saved(scene((600, 400)), "JPEG")], ids=["none", "half size"])
def test_a_thumbnail_is_never_passed_off_as_a_raw_file_s_picture(preview: bytes) -> None:
    with pytest.raises(UnsupportedImage, match=r"^A camera's raw file without a preview of full size isn't"):
        decoded(raw_file(preview, (1216, 812)))


@pytest.mark.parametrize("start", [b"IIRO", b"FUJIFILMCCD-RAW 0201", b"IIU\0", b"FOVb", b"\0MRM"])
def test_every_raw_format_is_treated_so(start: bytes) -> None:
    head = start.ljust(64, b"\0")
    assert decoded(head + saved(scene((2000, 1500)), "JPEG")).width == 2000
    with pytest.raises(UnsupportedImage, match="raw file"):
        decoded(head + saved(scene((640, 480)), "JPEG"))


def panasonic(preview: bytes) -> bytes:
    return b"IIU\0" + tiff("<", {2: (3, [2200]), 3: (3, [1650])}, preview)[4:]


def fuji(preview: bytes) -> bytes:
    sizes = struct.pack(">IHHIHHHH", 2, 0x100, 4, 0, 0x111, 4, 1650, 2200)
    return b"FUJIFILMCCD-RAW 0201".ljust(92, b"\0") + struct.pack(">I", 96) + sizes + preview


def sigma(preview: bytes) -> bytes:
    return b"FOVb".ljust(28, b"\0") + struct.pack("<II", 2200, 1650) + preview


def canon(preview: bytes) -> bytes:
    about = tiff("<", {256: (3, [2200]), 257: (3, [1650]), 274: (3, [6])}, b"\0")
    boxes = [(b"ftyp", b"crx isom"), (b"CMT1", about), (b"mdat", preview)]
    return b"".join(struct.pack(">I", len(content) + 8) + kind + content for kind, content in boxes)


def phase_one(preview: bytes) -> bytes:
    return tiff("<", header(4, 4, [8], 1), b"IIII".ljust(16, b"\0") + preview)  # tells of no size


@pytest.mark.parametrize("camera", [panasonic, fuji, sigma, canon, phase_one])
def test_each_maker_tells_how_large_the_picture_is(camera: Callable[[bytes], bytes]) -> None:
    image = decoded(camera(saved(scene((2200, 1650)), "JPEG")))
    assert {image.width, image.height} == {2200, 1650}
    assert image.height == (2200 if camera is canon else 1650)  # held upright
    small = (1500, 1100) if camera is phase_one else (1700, 1130)
    with pytest.raises(UnsupportedImage, match="preview of full size"):
        decoded(camera(saved(scene(small), "JPEG")))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (b"avc1", "compressed with H.264"),
        (b"j2k1", "compressed with JPEG 2000"),
        (b"vvc1", "compressed with VVC"),
        (b"unci", "uncompressed"),
        (b"lhv1", "in layers"),
    ],
)
def test_a_heif_of_another_codec_is_refused_by_its_name(kind: bytes, told: str) -> None:
    file = saved(scene((64, 64)), "HEIF").replace(b"hvc1\0", kind + b"\0")
    assert kind in file
    with pytest.raises(UnsupportedImage, match=f"^HEIF {told} isn't supported"):
        decoded(file)


def test_a_heif_that_shows_little_of_its_coded_picture_is_not_called_corrupt() -> None:
    data = bytearray(saved(scene((512, 512)), "HEIF"))
    place = data.index(b"ispe") + 8
    data[place : place + 8] = struct.pack(">II", 64, 64)
    with pytest.raises(UnsupportedImage, match=r"^HEIF whose coded picture is much larger"):
        decoded(bytes(data))


def test_a_heif_that_refers_to_one_picture_twice_is_not_called_corrupt() -> None:
    file = saved(scene((512, 512)), "HEIF", thumbnails=[64, 128])
    place = file.index(b"thmb") - 4  # two references of 14 bytes, each from a thumbnail to the picture
    _, kind, thumbnail, _, picture = struct.unpack(">I4s3H", file[place : place + 14])
    twice = struct.pack(">I4s10H", 28, kind, thumbnail, 8, *[picture] * 8)
    with pytest.raises(UnsupportedImage, match=r"^HEIF that refers to one picture several times"):
        decoded(file[:place] + twice + file[place + 28 :])


def test_a_heif_of_more_parts_than_are_read_is_not_called_corrupt() -> None:
    data = bytearray(saved(scene((64, 64)), "HEIF"))
    place = data.index(b"iloc") + 10  # behind version, flags and the sizes of its fields
    data[place : place + 2] = struct.pack(">H", 30_000)
    with pytest.raises(UnsupportedImage, match=r"^HEIF of more parts than its decoder takes"):
        decoded(bytes(data))


def as_old_encoders_wrote(avif: bytes) -> bytes:
    """The same picture, with a table of properties for each item."""
    place = avif.index(b"ipma") - 4
    length = int.from_bytes(avif[place : place + 4], "big")
    head, entries = avif[place + 4 : place + 12], avif[place + 16 : place + length]
    cut = 3 + entries[2]  # behind the first item's number, its count of properties, and these
    rest = struct.pack(">I", int.from_bytes(avif[place + 12 : place + 16], "big") - 1) + entries[cut:]
    tables = [head + content for content in (struct.pack(">I", 1) + entries[:cut], rest)]
    boxes = b"".join(struct.pack(">I", len(table) + 4) + table for table in tables)
    data = bytearray(avif[:place] + boxes + avif[place + length :])
    for kind in (b"meta", b"iprp"):
        at = data.index(kind) - 4
        data[at : at + 4] = struct.pack(">I", struct.unpack_from(">I", data, at)[0] + 16)
    for number in range(2):  # where the pixels of both begin
        at = avif.index(b"iloc") + 18 + 14 * number
        data[at : at + 4] = struct.pack(">I", struct.unpack_from(">I", data, at)[0] + 16)
    return bytes(data)


def test_an_avif_of_old_encoders_keeps_its_alpha() -> None:
    picture = scene((64, 64)).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((64, 64)))
    new = saved(picture, "AVIF")
    old = as_old_encoders_wrote(new)
    with pytest.raises(SyntaxError):
        AvifImageFile(BytesIO(old))
    assert np.array_equal(decoded(old).picture, decoded(new).picture)


def test_an_avif_whose_alpha_has_no_size_is_refused_as_such() -> None:
    picture = scene((64, 64)).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((64, 64)))
    data = bytearray(saved(picture, "AVIF"))
    place = data.index(b"ipma") + 12
    place += 3 + data[place + 2]  # the second item's properties, of which the first is its size
    data[place + 3] = data[place + 4]
    with pytest.raises(UnsupportedImage, match="AVIF with an alpha channel as old"):
        decoded(bytes(data))


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_too_many_pixels_are_said_before_a_codec_looks(form: str) -> None:
    data = bytearray(saved(scene((64, 64)), form))
    place = data.index(b"ispe") + 8
    data[place : place + 8] = struct.pack(">II", 17_000, 17_000)
    with pytest.raises(TooManyPixels, match="17000 x 17000"):
        decoded(bytes(data))


OTHERS = {
    "an AVIF or HEIF in its low-overhead form": b"\0\0\0\x10ftypmif3avif",
    "a Canon CRW raw file": b"II\x1a\0\0\0HEAPCCDR",
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "an HTML or XML document": b"<!doctype html><title>404</title>",
    "a PDF document": b"%PDF-1.7\n",
    "a Photoshop document": b"8BPS\0\1",
    "a JPEG 2000 image": b"\0\0\0\x0cjP  \r\n\x87\n",
    "a JPEG XL image": b"\xff\x0a\xfa\x7f",
    "a Targa image": bytes(40) + b"TRUEVISION-XFILE.\0",
    "a PostScript document": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "an OpenEXR image": b"\x76\x2f\x31\x01",
    "a video or audio file": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "a ZIP archive": b"PK\x03\x04",
    "a PNM image": b"P6 2 2 255 ",
    "a cursor": b"\0\0\2\0\1\0",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_refused_by_their_name(name: str) -> None:
    with pytest.raises(NotAnImage, match=f"^The file is {name}.* isn't read. Upload a JPEG, PNG"):
        decoded(OTHERS[name] + bytes(0 if "Targa" in name else 40))


def test_a_webp_that_lacks_nothing_but_its_notes_is_decoded() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 200
    data = saved(scene(), "WEBP", exif=exif)
    assert same(at(decoded(data[:-50]), 0.1, 0.9), (200, 30, 30), 25)


def test_the_share_of_a_jpeg_cut_in_half_is_told_in_its_refusal() -> None:
    data = saved(Image.effect_noise((200, 320), 80), "JPEG")
    with pytest.raises(IncompleteImage, match=r"Only (2|3)\d% of the JPEG image's rows"):
        decoded(data[: len(data) * 3 // 10])
