"""Bytes to pictures: pure functions over Pillow, made for files that nobody vouches for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

# Imported for their effect: each registers its format with Pillow, which would else load all that it knows.
from PIL import AvifImagePlugin as AvifImagePlugin
from PIL import BmpImagePlugin as BmpImagePlugin
from PIL import ExifTags, Image, ImageChops
from PIL import GifImagePlugin as GifImagePlugin
from PIL import PngImagePlugin as PngImagePlugin
from PIL import TiffImagePlugin as TiffImagePlugin
from PIL import WebPImagePlugin as WebPImagePlugin
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from shared.errors import BrokenImage, DecodingOutOfMemory, NotAnImage
from shared.images import jpeg, webp
from shared.images.limits import check_bytes, check_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The formats that are opened, in the order in which they are tried, and the type that each is reported as.
MIME_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
}

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

SPARE = 2  # a reduced picture keeps so many times the side asked for: resized, it looks the same
LARGEST_STEP = 16
BAND = 64  # rows
BAND_PIXELS = 1_000_000

ON_THEIR_SIDE = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """A decoded picture."""

    picture: Image.Image  # RGB, upright; smaller than the original where `min_side` allowed it
    width: int  # of the original, upright
    height: int
    mime_type: str  # sniffed from the bytes


class Decode(Protocol):
    """A file's bytes to its picture, or the ImageError that says why there is none."""

    def __call__(self, data: bytes, *, min_side: int | None) -> DecodedImage: ...


def decode(data: bytes, *, max_bytes: int, max_pixels: int, min_side: int | None = None) -> DecodedImage:
    """The picture in `data`, or the ImageError that says why there is none.

    With `min_side`, a large image may come out smaller, but with no side shorter than that: that takes a
    fraction of the time for a JPEG, and a fraction of the memory for the others.
    """
    check_bytes(data, max_bytes)
    jpeg.check_scans(data)
    if size := webp.size(data):
        check_size(size, max_pixels)
    image = _open(data)
    check_size(image.size, max_pixels)
    with _translated(image.format, image.size):
        return _decode(image, min_side)


def _open(data: bytes) -> ImageFile:
    if data[4:8] == b"ftyp":
        _register_heif()
    # Image.open would do this as well, but it warns at a number of pixels of its own, which is a global.
    factories = [(name, Image.OPEN[name]) for name in MIME_TYPES if name in Image.OPEN]
    candidates = [(name, make) for name, (make, accept) in factories if accept and accept(data[:16]) is True]
    if not candidates:
        raise NotAnImage()
    for name, make in candidates[:-1]:
        try:
            return make(BytesIO(data), name)
        except Exception:
            continue  # the signature of AVIF and HEIF files can be the same: the next one decides
    return _open_as(*candidates[-1], data)


def _register_heif() -> None:
    # Imported when it is needed: a decoder process should start fast and weigh little.
    import pillow_heif

    # A HEIC's embedded thumbnail may show something else than the picture, so they aren't even read.
    pillow_heif.register_heif_opener(thumbnails=False)


def _open_as(name: str, make: object, data: bytes) -> ImageFile:
    with _translated(name, webp.size(data)):
        # JPEG's own factory would also look for further pictures in the file; the first is all that counts.
        return JpegImageFile(BytesIO(data)) if name == "JPEG" else make(BytesIO(data), name)  # type: ignore[operator]


@contextmanager
def _translated(name: str | None, size: tuple[int, int] | None) -> Iterator[None]:
    # Decoders raise almost anything on hostile bytes: OSError, SyntaxError, ValueError, IndexError,
    # struct.error, zlib.error, OverflowError, DecompressionBombError. All of it means the same.
    try:
        yield
    except MemoryError as error:
        raise DecodingOutOfMemory(value=size) from error
    except Exception as error:
        raise BrokenImage(
            f"The {name} image is cut off or corrupt ({type(error).__name__}: {error}). Upload it again.",
            value=size,
        ) from error


def _decode(image: ImageFile, min_side: int | None) -> DecodedImage:
    width, height = image.size
    mime_type = getattr(image, "custom_mimetype", None) or MIME_TYPES[image.format or ""]
    if min_side and image.format == "JPEG":
        image.draft(image.mode, (min_side, min_side))
    image.load()
    turn = _orientation(image)
    if turn in ON_THEIR_SIDE:
        width, height = height, width
    picture = _reduced(image, min_side) if min_side and image.format != "JPEG" else to_rgb(image)
    picture = picture.transpose(TURNS[turn]) if turn in TURNS else picture
    return DecodedImage(picture=picture, width=width, height=height, mime_type=mime_type)


def _orientation(image: ImageFile) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error):
        return 1  # a camera's broken notes are no reason to refuse its picture


def _reduced(image: Image.Image, min_side: int) -> Image.Image:
    """RGB at a whole fraction of the size, band by band: converted as a whole, 100 megapixels take 2 GB."""
    width, height = image.size
    step = min(min(width, height) // (SPARE * min_side), LARGEST_STEP)
    if step < 2 or image.mode in ("I", "F"):  # whose range is that of the whole picture
        return to_rgb(image)
    picture = Image.new("RGB", (-(-width // step), -(-height // step)))
    rows = step * (BAND // step)
    for top in range(0, height, rows):
        band = to_rgb(image.crop((0, top, width, min(top + rows, height))))
        picture.paste(band.reduce(step), (0, top // step))
    return picture


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB of any mode: alpha on white, deep greys scaled to eight bits."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        import numpy as np  # for these rare ones alone

        return Image.fromarray(_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for one of Adobe's, which are stored inverted.
        return ImageChops.invert(image).convert("RGB")
    return _on_white(image) if image.has_transparency_data else image.convert("RGB")


def _to_eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values of any depth as 0 to 255: 16-bit ones scaled, others by their range beyond that."""
    import numpy as np

    if values.dtype.kind == "u":
        eight_bits: NDArray[np.uint8] = np.rint(np.arange(65536) * (255 / 65535)).astype(np.uint8)
        return np.take(eight_bits, values)
    low, high = _range(values)
    grey = np.empty(values.shape, np.uint8)
    for rows, band in _bands(values):
        grey[rows] = np.rint((band - low) * (255 / (high - low or 1.0)))
    return grey


def _range(values: NDArray[np.generic]) -> tuple[float, float]:
    """What stands for black and for white."""
    ends = [(float(band.min()), float(band.max())) for _, band in _bands(values)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if low < 0 or (values.dtype.kind == "f" and high > 255) or high > 65535:
        return low, high
    if values.dtype.kind == "i" and high > 255:
        return 0.0, 65535.0
    return 0.0, 1.0 if high <= 1 else 255.0


def _bands(values: NDArray[np.generic]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    # Some rows at a time: as a whole, 50 megapixels took gigabytes and 18 seconds.
    import numpy as np

    height = max(1, BAND_PIXELS // values.shape[1])
    for top in range(0, len(values), height):
        rows = slice(top, top + height)
        yield rows, np.nan_to_num(values[rows].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")
