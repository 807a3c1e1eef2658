"""Files that are no images, or mean harm: each gets its own error, and none gets through as anything else."""

from __future__ import annotations

import random
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from test_decoding import FORMATS, LIMITS, at, chunk, decoded, refined, same, saved, scene

from shared.errors import (
    BrokenImage,
    DecodingOutOfMemory,
    EmptyImage,
    ImageError,
    ImageTooLarge,
    ImageTooLong,
    IncompleteImage,
    NotAnImage,
    TooManyPixels,
    TooManyScans,
    UnsupportedImage,
)
from shared.images import decode, decoding, jpeg, tiff, webp
from shared.images.sandbox.pool import DecoderPool

SAMPLES = Path(__file__).resolve().parents[3] / "examples" / "images"


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    """With a quarter of the memory that is usual."""
    with closing(DecoderPool(processes=1, seconds=20, memory=512 * 1024**2, **LIMITS)) as running:
        yield running


def test_an_empty_file_says_so() -> None:
    with pytest.raises(EmptyImage):
        decoded(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\xff",
        b"hello, world",
        b"<!doctype html><title>404</title>",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%PDF-1.7\n",
        b"PK\x03\x04" + bytes(40),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        b"P6 2 2 255 " + bytes(12),
        bytes(1000),
    ],
)
def test_what_is_no_image_of_ours_is_not_opened(data: bytes) -> None:
    with pytest.raises(NotAnImage):
        decoded(data)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_cut_off_file_of_a_format_that_browsers_show_whole_or_not_at_all_is_broken(
    kind: str, share: float
) -> None:
    data = saved(noise(), kind)
    with pytest.raises(BrokenImage, match="cut off or corrupt"):
        decoded(data[: int(len(data) * share)])


def noise() -> Image.Image:
    """Content up to the last byte."""
    return Image.effect_noise((200, 150), 80).convert("RGB")


PARTLY = {
    "JPEG": {},
    "PNG": {},
    "GIF": {"interlace": 0},
    "BMP": {},
}


@pytest.mark.parametrize("kind", PARTLY)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.45])
def test_of_a_cut_off_file_less_than_half_is_refused_with_that_reason(kind: str, share: float) -> None:
    data = saved(noise(), kind, **PARTLY[kind])
    with pytest.raises((IncompleteImage, BrokenImage)) as caught:
        decoded(data[: int(len(data) * share)])
    if isinstance(caught.value, IncompleteImage):
        assert re.search(
            r"Only \d+% of the \w+ image's rows .* at least 50% .* Upload it again", str(caught.value)
        )
    else:  # not even a row
        assert share < 0.3


@pytest.mark.parametrize("kind", PARTLY)
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_of_a_cut_off_file_more_than_half_is_shown_and_told(kind: str, share: float) -> None:
    data = saved(noise(), kind, **PARTLY[kind])
    whole, part = decoded(data), decoded(data[: int(len(data) * share)])
    assert whole.shown == 1 and abs(part.shown - share) < 0.1
    assert (part.width, part.height) == (200, 150)
    rows = int(150 * part.shown)
    box = (0, 150 - rows, 200, 150) if kind == "BMP" else (0, 0, 200, rows - 8)  # BMPs begin below
    assert part.picture.crop(box).tobytes() == whole.picture.crop(box).tobytes()
    assert same(at(part, 0.5, 0.0 if kind == "BMP" else 1.0), (255, 255, 255))


@pytest.mark.parametrize("kind", PARTLY)
def test_a_file_that_lacks_nothing_but_its_end_is_whole(kind: str) -> None:
    data = saved(Image.linear_gradient("L").convert("RGB"), kind, **PARTLY[kind])
    for missing in (1, 2):
        assert decoded(data[:-missing]).shown > 0.99


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("GIF", {"interlace": 1})])
def test_rows_that_an_interlaced_file_lacks_are_those_above_them(kind: str, options: dict[str, int]) -> None:
    picture = Image.linear_gradient("L").convert("RGB")
    data = interlaced(picture) if kind == "PNG" else saved(picture, kind, **options)
    part = decoded(data[: int(len(data) * 0.8)])
    assert 0.5 <= part.shown < 1
    difference = np.abs(np.asarray(part.picture, np.int16) - np.asarray(picture, np.int16))
    assert difference.max() <= 8


def interlaced(picture: Image.Image) -> bytes:
    """An interlaced (Adam7) PNG, which Pillow can't write."""
    pixels = np.asarray(picture)
    starts = ((0, 0), (4, 0), (0, 4), (2, 0), (0, 2), (1, 0), (0, 1))
    steps = ((8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2))
    passes = [pixels[y::down, x::across] for (x, y), (across, down) in zip(starts, steps, strict=True)]
    rows = [b"\0" + row.tobytes() for one in passes for row in one]
    header = struct.pack(">IIBBBBB", *picture.size, 8, 2, 0, 0, 1)
    parts = {b"IHDR": header, b"IDAT": zlib.compress(b"".join(rows), 0), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in parts.items())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_signature_with_nothing_behind_it_is_broken(kind: str) -> None:
    with pytest.raises(BrokenImage):
        decoded(saved(scene(), kind)[:16])


@pytest.mark.parametrize("sides", [(4, 0), (0, 4)])
def test_a_picture_without_a_pixel_is_broken_and_says_how(sides: tuple[int, int]) -> None:
    frame = b"," + struct.pack("<HHHHB", 0, 0, *sides, 0) + b"\2\2D\1\0;"
    with pytest.raises(BrokenImage, match="tile cannot extend outside image"):
        decoded(b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + frame)


def test_the_remedy_and_the_cause_are_told() -> None:
    with pytest.raises(BrokenImage, match=r"The PNG image .* Upload it again") as caught:
        decoded(saved(scene(), "PNG")[:60])
    assert caught.value.__cause__ is not None


def test_too_many_bytes_are_refused_before_anything_is_read() -> None:
    with pytest.raises(ImageTooLarge, match="1001 bytes, at most 1000"):
        decode(bytes(1001), max_bytes=1000, max_pixels=10)


def test_too_many_pixels_are_refused_with_the_size() -> None:
    with pytest.raises(TooManyPixels, match="64 x 48 pixels, at most 3071"):
        decode(saved(scene(), "JPEG"), max_bytes=10_000, max_pixels=64 * 48 - 1)
    assert decode(saved(scene(), "JPEG"), max_bytes=10_000, max_pixels=64 * 48).width == 64


@pytest.mark.parametrize("side", [15_000, 30_000, 200_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    with pytest.raises(TooManyPixels):
        decoded(bomb)


def test_our_limit_counts_not_pillow_s_and_pillow_s_stays_as_it_is() -> None:
    before = Image.MAX_IMAGE_PIXELS
    assert before is not None and before < 100_000_000
    data = saved(Image.new("1", (9_990, 10_000)), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoded(data).width == 9_990
    assert before == Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def webp_header(chunk_name: bytes, body: bytes) -> bytes:
    """A WebP that ends where its size has been told."""
    return b"RIFF" + struct.pack("<I", 4096) + b"WEBP" + chunk_name + struct.pack("<I", 4000) + body


def bits(number: int, length: int) -> bytes:
    return number.to_bytes(length, "little")


SIDE = 16_383  # the most that the plain kinds of WebP can tell
BOMBS = {
    "gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
    "gif whose first frame leaves the screen": b"GIF89a"
    + struct.pack("<HHBBB", 8, 8, 0, 0, 0)
    + b","
    + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
    + b"\2\2D\1\0;",
    "lossy webp": webp_header(b"VP8 ", b"\0\0\0\x9d\1\x2a" + struct.pack("<HH", SIDE, SIDE) + bytes(40)),
    "lossless webp": webp_header(b"VP8L", b"\x2f" + bits(SIDE | SIDE << 14, 4) + bytes(40)),
    "extended webp": webp_header(b"VP8X", bytes(4) + bits(2**24 - 1, 3) + bits(2**24 - 1, 3) + bytes(40)),
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 65535, 65535, 1, 24, 0, 0, 0, 0, 0, 0),
    "tiff": b"II*\0\x08\0\0\0\x09\0"
    + b"".join(
        struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in [
            *((256, 65535), (257, 65535), (258, 8), (259, 1), (262, 1)),
            *((273, 122), (277, 1), (278, 65535), (279, 9)),
        ]
    )
    + bytes(16),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_any_format_is_refused_by_its_header(name: str, decoders: DecoderPool) -> None:
    with pytest.raises(TooManyPixels, match="at most 100000000 are accepted"):
        decoders.decode(BOMBS[name], min_side=224)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_size_in_a_webp_s_header_is_read_as_its_decoder_does(mode: str, lossless: bool) -> None:
    data = saved(scene((301, 207)).convert(mode), "WEBP", lossless=lossless)
    assert webp.size(data) == (301, 207)
    with pytest.raises(TooManyPixels, match="301 x 207"):
        decode(data, max_bytes=10**6, max_pixels=301 * 207 - 1)


def test_a_bomb_of_text_in_a_png_is_not_unpacked() -> None:
    text = b"Comment\0\0" + zlib.compress(bytes(70_000_000))
    data = saved(scene(), "PNG")
    assert decoded(data[:33] + chunk(b"zTXt", text) + data[33:]).width == 64
    profile = b"profile\0\0" + zlib.compress(bytes(70_000_000))
    assert decoded(data[:33] + chunk(b"iCCP", profile) + data[33:]).width == 64


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF"])
def test_a_bomb_within_the_limits_costs_little_memory(kind: str, decoders: DecoderPool) -> None:
    bomb = saved(
        Image.new("L", (9_990, 10_000)), kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {})
    )
    found = decoders.decode(bomb, min_side=224)
    assert (found.width, found.height) == (9_990, 10_000) and max(found.picture.size) < 1000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "GIF"])
def test_a_picture_of_the_greatest_width_is_decoded(kind: str) -> None:
    found = decoded(saved(Image.new("L", (65_500, 328), 200), kind), 224)
    assert (found.width, found.height) == (65_500, 328) and same(at(found, 0.5, 0.5), (200, 200, 200))


@pytest.mark.parametrize(
    "size",
    [(1284, 27_780), (1080, 60_000), (16_000, 1000), (64_000, 320), (1, 200), (200, 1)],
    ids=["long screenshot", "longer screenshot", "panorama", "widest panorama", "line", "lying line"],
)
def test_long_screenshots_and_panoramas_are_decoded(size: tuple[int, int]) -> None:
    found = decoded(saved(Image.new("1", size), "PNG"), 224)
    assert (found.width, found.height) == size


@pytest.mark.parametrize("size", [(1, 201), (201, 1), (1, 20_000), (1, 100_000_000), (65_536, 400)])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "WEBP"])
def test_a_side_too_long_is_refused_by_its_header(kind: str, size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLong, match=rf"{size[0]} x {size[1]} pixels.* 65535 .* 200 times") as caught:
        decoded(announcing(kind, size))
    assert caught.value.value == [*size]


def announcing(kind: str, size: tuple[int, int]) -> bytes:
    """The head of a file that says how large it is; where the format can't say so, one that can."""
    if kind == "TIFF":
        tags = {256: size[0], 257: size[1], 258: 8, 259: 1, 262: 1, 273: 122, 277: 1, 278: 1, 279: 9}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        return b"II*\0\x08\0\0\0\x09\0" + entries + bytes(16)
    if kind == "WEBP" and max(size) <= 2**24:
        return webp_header(b"VP8X", bytes(4) + bits(size[0] - 1, 3) + bits(size[1] - 1, 3) + bytes(40))
    if kind == "GIF" and max(size) < 65_536:
        return b"GIF89a" + struct.pack("<HHBBB", *size, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    assert decoded(refined(100)).width == 64
    with pytest.raises(TooManyScans, match="more than 100 scans"):
        decoded(refined(101))


def test_a_million_fill_bytes_before_a_jpegs_marker_are_looked_at_once(decoders: DecoderPool) -> None:
    # Each taken for a beginning of all that follow, they would take hours.
    with pytest.raises(BrokenImage):
        decoders.decode(b"\xff\xd8" + b"\xff" * 1_000_000, min_side=None)


def test_of_the_places_of_a_tiffs_sub_images_only_the_first_are_looked_at() -> None:
    # Millions of places, each looked at, would take minutes.
    places = [0] * tiff.MAX_DIRECTORIES + [8 + 18 + 4 * (tiff.MAX_DIRECTORIES + 1)]
    listed = struct.pack("<HHHIII", 1, tiff.SUB_IFDS, 4, len(places), 8 + 18, 0)
    data = b"II*\0\x08\0\0\0" + listed + struct.pack(f"<{len(places)}I", *places)
    assert len([*tiff.directories(data + struct.pack("<HHHIII", 1, tiff.WIDTH, 4, 1, 9, 0))]) == 1


VALUES = {
    1: b"\0",
    2: b"x",
    3: b"\xff\xff",
    4: b"\xff\xff\xff\xff",
    7: b"\0\1\2\3",
    11: struct.pack("<f", np.inf),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("tag", sorted(tiff.READ))
def test_a_tiff_s_tag_of_any_type_ends_in_a_picture_or_a_refusal(tag: int, kind: int) -> None:
    data = bytearray(saved(scene(), "TIFF"))
    value, count = VALUES[kind].ljust(4, b"\0"), len(VALUES[kind]) // {3: 2, 4: 4, 11: 4}.get(kind, 1)
    start = struct.unpack_from("<I", data, 4)[0] + 2
    entries = range(start, start + 12 * struct.unpack_from("<H", data, start - 2)[0], 12)
    # In the place of its own entry, or of the last one.
    place = next((at for at in entries if struct.unpack_from("<H", data, at)[0] == tag), entries[-1])
    data[place : place + 12] = struct.pack("<HHI", tag, kind, count) + value
    assert outcome(bytes(data)) in ("decoded", "refused")
    data[place + 12 : place + 14] = struct.pack("<H", tiff.ORIENTATION)  # broken elsewhere, too
    assert outcome(bytes(data)) in ("decoded", "refused")


def test_an_orientation_beyond_all_numbers_is_none() -> None:
    note = b"II*\0\x08\0\0\0" + struct.pack("<HHHIfI", 1, 274, 11, 1, np.inf, 0)
    data = saved(scene(), "PNG")
    assert decoded(data[:33] + chunk(b"eXIf", note) + data[33:]).width == 64


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_long_picture_comes_out_no_larger_than_the_asking_process_has_room_for(kind: str) -> None:
    size = (1290, 60_000) if kind != "WEBP" else (2590, 16_000)
    picture = Image.new("L", size)
    picture.paste(255, (0, size[1] // 2, *size))
    found = decoded(saved(picture, kind), 650)
    assert (found.width, found.height) == size
    assert found.picture.width * found.picture.height <= 25_000_000
    assert abs(found.picture.width * size[1] / (found.picture.height * size[0]) - 1) < 0.01
    assert same(at(found, 0.5, 0.45), (0, 0, 0)) and same(at(found, 0.5, 0.55), (255, 255, 255))


def test_a_large_picture_that_is_cut_off_needs_no_more_memory_than_two_of_it(decoders: DecoderPool) -> None:
    data = saved(Image.new("RGB", (6000, 5000), (9, 99, 9)), "PNG")
    found = decoders.decode(data[: len(data) * 7 // 10], min_side=224)
    assert 0.5 < found.shown < 1


def test_a_heif_whose_decoder_got_no_memory_is_not_called_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_data: bytes) -> ImageFile.ImageFile:
        raise RuntimeError("Memory allocation error: Unspecified: Allocating 9024015 bytes failed")

    monkeypatch.setattr(decoding, "_open_heif", fail)
    with pytest.raises(DecodingOutOfMemory):
        decoded(saved(scene(), "HEIF"))


def test_scans_are_counted_as_scans_alone() -> None:
    data = saved(scene(), "JPEG", comment=b"\xff\xda" * 200)  # as a thumbnail in a segment has them
    assert [one.marker for one in jpeg.segments(data)].count(jpeg.START_OF_SCAN) == 1
    assert decoded(data + refined(200)).width == 64  # bytes behind the image's end are no part of it


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_of_200_frames_costs_no_more_than_its_first(kind: str) -> None:
    frames = [Image.new("RGB", (64, 48), (number, 255 - number, 7 * number % 256)) for number in range(200)]
    found = decoded(saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=20), 32)
    assert found.picture.size == (64, 48) and same(at(found, 0.5, 0.5), (0, 255, 0), 10)


def test_an_image_may_be_called_anything_since_its_bytes_decide() -> None:
    for kind, mime_type in (("PNG", "image/png"), ("GIF", "image/gif"), ("TIFF", "image/tiff")):
        assert decoded(saved(scene(), kind)).mime_type == mime_type


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (3, 2)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_odd_sizes_are_decoded(size: tuple[int, int], kind: str) -> None:
    assert decoded(saved(Image.new("RGB", size, "red"), kind), 256).picture.size == size


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of much that it then reads all the same
def test_damaged_files_decode_or_raise_an_image_error(kind: str) -> None:
    seed = random.Random(f"mutations of {kind}")
    original = saved(Image.open(SAMPLES / "animals" / "cat.jpg").resize((96, 72)), kind)
    outcomes = [outcome(damaged(original, seed)) for _ in range(60)]
    assert set(outcomes) <= {"decoded", "refused"}
    assert "refused" in outcomes


def damaged(data: bytes, seed: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(seed.choice([1, 2, 8, 40])):
        changed[seed.randrange(min(len(changed), seed.choice([40, 400, len(changed)])))] = seed.randrange(256)
    if seed.random() < 0.3:
        start = seed.randrange(len(changed))
        del changed[start : start + seed.randrange(1, 200)]
    return bytes(changed)


def outcome(data: bytes) -> str:
    try:
        image = decode(data, max_bytes=LIMITS["max_bytes"], max_pixels=1_000_000, min_side=32)
    except ImageError:
        return "refused"
    assert image.picture.mode == "RGB"
    BytesIO(image.picture.tobytes())
    return "decoded"


def in_tiles(side: int, *, kind: int = 4, beside: int | None = None) -> bytes:
    """A TIFF of 100 x 100 grey pixels in tiles of this side, its one tile broken off.

    The side is of this type of TIFF's (4 is LONG), and another may be told beside it.
    """
    tags = [(256, 4, 100), (257, 4, 100), (258, 4, 8), (259, 4, 5), (262, 4, 1), (277, 4, 1)]
    for tag in (322, 323):
        tags += [(tag, kind, side)] + ([(tag, 4, beside)] if beside else [])
    tags += [(324, 4, 8), (325, 4, 8)]
    place = 8 + 2 + 12 * len(tags) + 4  # of values of eight bytes
    directory = b"".join(
        struct.pack("<HHII", tag, one, 1, place if one == 17 else value) for tag, one, value in tags
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4) + struct.pack("<Q", side)


@pytest.mark.parametrize("beside", [None, 16])
def test_a_tile_whose_side_is_of_a_type_that_pillow_does_not_know_is_not_decoded(beside: int | None):
    """SLONG8, which libtiff reads; it takes the first of two, too."""
    for odd in (in_tiles(22_000, kind=17, beside=beside), in_tiles(64, beside=22_000)):
        with pytest.raises(UnsupportedImage, match="sides are no whole numbers, or told twice"):
            decode(odd, max_bytes=1000, max_pixels=100_000_000, min_side=32)


def test_a_tile_counts_as_the_picture_does():
    """Of 20,000 x 20,000 pixels, which take 1.6 GB, in 182 bytes."""
    with pytest.raises(TooManyPixels, match="tile has 20000 x 20000 pixels"):
        decode(in_tiles(20_000), max_bytes=1000, max_pixels=100_000_000, min_side=32)
    with pytest.raises(BrokenImage, match="cut off"):
        decode(in_tiles(1024), max_bytes=1000, max_pixels=100_000_000, min_side=32)
