"""Files that are no images, or mean harm: each gets its own error, and none gets through as anything else."""

from __future__ import annotations

import random
import struct
import warnings
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageFile
from test_decoding import FORMATS, LIMITS, chunk, decoded, saved, scene

from shared.errors import BrokenImage, EmptyImage, ImageError, ImageTooLarge, NotAnImage, TooManyPixels
from shared.images import decode

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "images"


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


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_cut_off_file_is_broken(kind: str, share: float) -> None:
    noise = Image.effect_noise((200, 150), 80).convert("RGB")  # content up to the last byte
    data = saved(noise, kind)
    with pytest.raises(BrokenImage, match="cut off or corrupt"):
        decoded(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_signature_with_nothing_behind_it_is_broken(kind: str) -> None:
    with pytest.raises(BrokenImage):
        decoded(saved(scene(), kind)[:16])


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


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (3, 2)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_odd_sizes_are_decoded(size: tuple[int, int], kind: str) -> None:
    assert decoded(saved(Image.new("RGB", size, "red"), kind), 256).picture.size == size


def test_a_disguised_format_is_told_by_its_bytes() -> None:
    assert decoded(saved(scene(), "PNG")).mime_type == "image/png"  # whatever its name ends in


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
