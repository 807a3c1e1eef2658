"""The rows that a cut-off file has, as browsers show them, and their share of the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from PIL import Image
from PIL.ImageFile import ImageFile

from shared.errors import IncompleteImage
from shared.images.colours import in_eight_bits

FORMATS = ("JPEG", "PNG", "GIF", "BMP")  # whose decoders give the rows that they have
LEAST_SHOWN = 0.5  # of the rows; less isn't the picture any more
JPEG_END = b"\xff\xd9"
GREY = 128  # of blocks that libjpeg makes up
BLOCK = 8  # pixels, the least side of such a block
BAND = 64  # rows
Open = Callable[[bytes], ImageFile]  # the file, with some bytes appended


def load(open_: Open, name: str) -> tuple[Image.Image, float] | None:
    """The rows that can be decoded, the others transparent, and their share of all; None where there is none.

    IncompleteImage where they are less than half. A row that lacks between others, as in an interlaced file,
    is the one above it once more.
    """
    image, missing = _load(open_)
    if 0 in image.size:
        return None
    if name == "JPEG" and missing:
        image, missing = _completed(open_(JPEG_END), image, missing)
    height = image.size[1]
    share = 1 - len(missing) / height
    if share == 0:
        return None
    if share < LEAST_SHOWN:
        raise IncompleteImage(
            f"Only {share:.0%} of the {name} image's rows are in the file, at least {LEAST_SHOWN:.0%} are "
            "needed. Upload it again.",
            value=[*image.size],
        )
    return (_filled(image, missing) if missing else image), share


def _load(open_: Open) -> tuple[Image.Image, list[int]]:
    """The picture, and the rows that the decoder left as they were: black in one copy, white in the other."""
    black, white = (_loaded_over(open_(b""), value) for value in (0, 255))
    return black, [*_differing(black, white)]


def _differing(one: Image.Image, other: Image.Image) -> Iterator[int]:
    """The rows in which they differ, some at a time: as a whole, their bytes take as much memory again."""
    width, height = one.size
    for top in range(0, height, BAND):
        box = (0, top, width, min(top + BAND, height))
        first, second = (image.crop(box).tobytes() for image in (one, other))
        stride = len(first) // (box[3] - top)
        for row in range(top, box[3]):
            at = (row - top) * stride
            if first[at : at + stride] != second[at : at + stride]:
                yield row


def _loaded_over(image: ImageFile, value: int) -> Image.Image:
    """The picture, decoded as far as it goes, over one colour."""
    extents = image.tile[0].extents
    assert extents
    image.load_prepare()
    bands = len(image.getbands())
    ground = Image.new(image.mode, image.size, value if bands == 1 else (value,) * bands)
    image.im.paste(ground.im, (0, 0, *image.size))
    image.load_prepare = lambda: None  # type: ignore[method-assign]
    with suppress(OSError, SyntaxError, ValueError, IndexError, EOFError):
        image.load()
    image.tile = []
    return image.crop(extents) if image.format == "GIF" else image


def _completed(whole: ImageFile, image: Image.Image, missing: Sequence[int]) -> tuple[Image.Image, list[int]]:
    """A JPEG whose end was put right, and its rows whose end is made up."""
    with suppress(OSError):
        whole.load()
        width = whole.size[0]
        end = min(BLOCK, width)
        grey = bytes([GREY]) * (end * len(whole.getbands()))
        rows = (whole.crop((width - end, row, width, row + 1)).tobytes() for row in missing)
        return whole, [row for row, pixels in zip(missing, rows, strict=True) if pixels == grey]
    return image, [*missing]


def _filled(image: Image.Image, missing: Sequence[int]) -> Image.Image:
    picture = in_eight_bits(image).convert("RGBA")
    width, height = picture.size
    lacking = {*missing}
    last = max(row for row in range(height) if row not in lacking)
    for row in missing:
        if 0 < row < last:
            picture.paste(picture.crop((0, row - 1, width, row)), (0, row))
        else:
            picture.paste((0, 0, 0, 0), (0, row, width, row + 1))
    picture.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return picture
