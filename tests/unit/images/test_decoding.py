"""Decoding the images that people really have: every format, mode, depth and orientation."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from shared import images
from shared.images import DecodedImage, decode

LIMITS = {"max_bytes": 50_000_000, "max_pixels": 100_000_000}
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"]
pillow_heif.register_heif_opener()  # for saving, too


def scene(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Red on the left, blue on the right, with a green top: tells apart channels, mirroring and turning."""
    picture = Image.new("RGB", size, (200, 30, 30))
    width, height = size
    picture.paste((30, 30, 200), (width // 2, 0, width, height))
    picture.paste((30, 200, 30), (0, 0, width, height // 4))
    return picture


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def refined(scans: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive JPEG of so many scans."""
    data = saved(scene(size), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]


def decoded(data: bytes, min_side: int | None = None) -> DecodedImage:
    return decode(data, min_side=min_side, **LIMITS)


def at(image: DecodedImage, x: float, y: float) -> tuple[int, ...]:
    """The colour at a place given as fractions of width and height."""
    place = int(x * (image.picture.width - 1)), int(y * (image.picture.height - 1))
    value = image.picture.getpixel(place)
    assert isinstance(value, tuple)
    return value


def same(found: tuple[int, ...], expected: tuple[int, ...], tolerance: int = 12) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_decoded_and_named_by_its_bytes(kind: str) -> None:
    image = decoded(saved(scene(), kind))
    assert image.picture.mode == "RGB"
    assert (image.width, image.height) == image.picture.size == (64, 48)
    assert image.mime_type in (f"image/{kind.lower()}", "image/heic")
    assert same(at(image, 0.1, 0.9), (200, 30, 30), 25)
    assert same(at(image, 0.9, 0.9), (30, 30, 200), 25)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_camera_s_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decoded(saved(scene(), kind, exif=exif))
    turned = ImageOps.exif_transpose(Image.open(BytesIO(saved(scene(), "PNG", exif=exif))))
    assert image.picture.size == (image.width, image.height) == turned.size
    difference = np.abs(np.asarray(image.picture, np.int16) - np.asarray(turned.convert("RGB"), np.int16))
    assert difference.mean() < 6


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_a_turned_phone_picture_stands_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = scene()
    if kind == "HEIF":
        picture.info["exif"] = exif.tobytes()  # from here pillow-heif writes the turn as the container's own
        image = decoded(saved(picture, kind))
    else:
        image = decoded(saved(picture, kind, exif=exif))
    assert (image.width, image.height) == image.picture.size == (48, 64)
    assert same(at(image, 0.9, 0.5), (30, 200, 30), 30), "the green top is on the right after the turn"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_camera_notes_do_not_cost_the_picture() -> None:
    data = saved(scene(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert decoded(data).picture.size == (64, 48)


def transparent(mode: str) -> Image.Image:
    picture = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    picture.paste((200, 30, 30, 255), (20, 0, 40, 20))
    return picture.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "AVIF")]
)
def test_what_is_transparent_becomes_white(mode: str, kind: str) -> None:
    image = decoded(saved(transparent(mode), kind))
    assert same(at(image, 0.1, 0.5), (255, 255, 255))
    assert not same(at(image, 0.9, 0.5), (255, 255, 255), 60)


def test_half_transparent_red_is_pink() -> None:
    image = decoded(saved(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG"))
    assert same(at(image, 0.5, 0.5), (255, 127, 127), 2)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_becomes_white(kind: str) -> None:
    picture = Image.new("P", (10, 10), 0)
    picture.putpalette([0, 0, 0, 200, 30, 30])
    picture.paste(1, (5, 0, 10, 10))
    image = decoded(saved(picture, kind, transparency=0))
    assert same(at(image, 0.0, 0.5), (255, 255, 255))
    assert same(at(image, 1.0, 0.5), (200, 30, 30))


def test_a_single_transparent_colour_becomes_white() -> None:
    image = decoded(saved(scene(), "PNG", transparency=(30, 30, 200)))
    assert same(at(image, 0.9, 0.9), (255, 255, 255))


def test_a_palette_picture_keeps_its_colours() -> None:
    image = decoded(saved(scene().convert("P"), "PNG"))
    assert same(at(image, 0.1, 0.9), (200, 30, 30), 40)


@pytest.mark.parametrize(("mode", "kind"), [("1", "PNG"), ("1", "TIFF"), ("L", "JPEG"), ("L", "BMP")])
def test_black_and_white_and_grey_are_rgb_afterwards(mode: str, kind: str) -> None:
    picture = Image.new("L", (16, 16), 0)
    picture.paste(255, (8, 0, 16, 16))
    image = decoded(saved(picture.convert(mode), kind))
    assert same(at(image, 0, 0), (0, 0, 0), 3) and same(at(image, 1, 1), (255, 255, 255), 3)


def test_an_adobe_cmyk_jpeg_is_not_inverted() -> None:
    image = decoded(saved(scene().convert("CMYK"), "JPEG"))
    assert same(at(image, 0.1, 0.9), (200, 30, 30), 20)


def test_a_cmyk_jpeg_without_adobe_s_mark_is_read_as_one_with_it() -> None:
    # As browsers do: nobody writes plain CMYK.
    data = saved(scene().convert("CMYK"), "JPEG")
    start = data.index(b"\xff\xee")
    length = 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    image = decoded(data[:start] + data[start + length :])
    assert same(at(image, 0.1, 0.9), (200, 30, 30), 20)


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
def test_print_and_video_modes_of_tiff_become_rgb(mode: str) -> None:
    picture = scene().convert(mode) if mode != "LAB" else Image.new("LAB", (8, 8), (128, 128, 128))
    assert decoded(saved(picture, "TIFF")).picture.mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_cut(kind: str) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    image = decoded(saved(Image.fromarray(values), kind))
    grey = np.asarray(image.picture)[..., 0].ravel().astype(int)
    assert np.abs(grey - np.arange(256)).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[-10.0, 0.0, 10.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, np.nan, 1.0]], np.float32), [0, 0, 255]),
        (np.array([[5000.0, 5000.0, 5000.0]], np.float32), [0, 0, 0]),
        (np.array([[0, 32768, 65535]], np.int32), [0, 128, 255]),
        (np.array([[0, 1_000_000, 2_000_000]], np.int32), [0, 128, 255]),
        (np.array([[0, 0, 0]], np.int32), [0, 0, 0]),
    ],
)
def test_measurements_in_a_tiff_become_shades(values: np.ndarray, expected: list[int]) -> None:
    image = decoded(saved(Image.fromarray(values), "TIFF"))
    assert np.abs(np.asarray(image.picture)[0, :, 0].astype(int) - expected).max() <= 1


def test_deep_colour_keeps_its_colours() -> None:
    assert same(at(decoded(deep_png()), 0.5, 0.5), (255, 127, 0), 1)


def deep_png() -> bytes:
    """An RGB PNG of 16 bits per channel, which Pillow can't write: orange."""
    row = b"\0" + struct.pack(">HHH", 65535, 32768, 0) * 4
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(row * 4),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in parts.items())


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "lime")]
    image = decoded(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert same(at(image, 0.5, 0.5), (255, 0, 0), 10)


def test_a_jpeg_with_further_pictures_in_it_is_the_first() -> None:
    data = saved(scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48), "lime")])
    image = decoded(data)
    assert image.mime_type == "image/jpeg"
    assert same(at(image, 0.1, 0.9), (200, 30, 30), 20)


@pytest.mark.parametrize(
    ("size", "min_side", "expected"),
    [
        ((4000, 3000), 256, (500, 375)),
        ((4000, 3000), 400, (1000, 750)),
        ((3000, 4000), 256, (375, 500)),
        ((300, 200), 256, (300, 200)),
        ((600, 520), 256, (300, 260)),
    ],
)
def test_a_large_jpeg_is_decoded_no_smaller_than_needed(
    size: tuple[int, int], min_side: int, expected: tuple[int, int]
) -> None:
    image = decoded(saved(scene(size), "JPEG"), min_side)
    assert image.picture.size == expected
    assert (image.width, image.height) == size


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_small_decoding_keeps_the_colours_of_every_mode(mode: str) -> None:
    picture = scene((2048, 2048)).convert(mode)
    image = decoded(saved(picture, "JPEG"), 256)
    assert image.picture.size == (256, 256)
    assert same(at(image, 0.1, 0.9), picture.convert("RGB").getpixel((200, 1900)), 20)


def test_a_small_decoding_of_a_turned_jpeg_reports_the_upright_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = decoded(saved(scene((4000, 3000)), "JPEG", exif=exif), 256)
    assert image.picture.size == (375, 500)
    assert (image.width, image.height) == (3000, 4000)


@pytest.mark.parametrize("make", [lambda: transparent("RGBA"), lambda: scene().convert("P"), scene])
def test_pictures_that_are_already_open_become_rgb_the_same_way(make: Callable[[], Image.Image]) -> None:
    assert images.to_rgb(make()).mode == "RGB"


def test_the_result_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        decoded(saved(scene(), "PNG")).width = 3  # type: ignore[misc]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "L", "1", "I;16", "CMYK"])
def test_a_large_image_of_any_mode_is_reduced_to_what_it_would_look_like(mode: str) -> None:
    size = (1003, 707)
    grey = mode in ("I;16", "L", "LA", "1")
    picture = Image.linear_gradient("L").resize(size) if grey else scene(size)
    data = saved(to_mode(picture, mode), "TIFF" if mode == "CMYK" else "PNG")
    whole, reduced = decoded(data), decoded(data, min_side=100)
    assert (reduced.width, reduced.height) == size
    assert reduced.picture.size == (335, 236)  # a third, rounded up; no side under twice the asked one
    small = [np.asarray(one.picture.resize((100, 100)), dtype=float) for one in (whole, reduced)]
    assert np.abs(small[0] - small[1]).mean() < 1.5


def to_mode(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    return picture.convert(mode)


def test_a_picture_of_floating_point_numbers_is_reduced_as_others_are() -> None:
    """As a whole, half a megabyte of TIFF comes out as 300 MB."""
    found = decoded(saved(Image.linear_gradient("L").resize((400, 300)).convert("F"), "TIFF"), 32)
    assert found.picture.size == (100, 75) and (found.width, found.height) == (400, 300)
    assert same(at(found, 0.5, 0.5), (128, 128, 128), 4)
