"""Bytes to pictures: pure functions over Pillow, for untrusted files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol

from PIL import ExifTags, Image, ImageChops
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.IcoImagePlugin import IcoImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from shared.errors import BrokenImage, DecodingOutOfMemory, ImageError, UnsupportedImage
from shared.images import (
    bmp,
    colours,
    formats,
    ico,
    isobmff,
    jpeg,
    mime_types,
    png,
    raw,
    reduction,
    rows,
    tiff,
    webp,
)
from shared.images.limits import check_bytes, check_pixels, check_size

# Counts up whenever the same file may become another picture, or a picture at all.
DECODER_VERSION = 2

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

ON_THEIR_SIDE = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """A decoded picture."""

    picture: Image.Image  # RGB, upright; smaller than the original where `min_side` allowed it
    width: int  # of the original, upright
    height: int
    mime_type: str  # sniffed from the bytes
    shown: float = 1.0  # share of the rows that the file has; at least a half


class Decode(Protocol):
    """A file's bytes to its picture, or the ImageError that says why there is none."""

    def __call__(self, data: bytes, *, min_side: int | None) -> DecodedImage: ...


def decode(data: bytes, *, max_bytes: int, max_pixels: int, min_side: int | None = None) -> DecodedImage:
    """The picture in `data`, or the ImageError that says why there is none.

    With `min_side`, a large image may come out smaller: that takes a fraction of the time for a JPEG, and a
    fraction of the memory for the others. No side is then shorter than that, but of long pictures, which
    would have more than reduction.MOST_PIXELS.
    """
    check_bytes(data, max_bytes)
    name = formats.identify(data)
    with _translated(name, data):
        file = _unwrapped(name, data)
    with _translated(file.name, file.data):
        return _decoded(file, max_pixels, min_side)


@dataclass(frozen=True, kw_only=True)
class _File:
    """The file that holds the pixels: the one given, or one within it."""

    name: str  # of its format
    data: bytes
    mime_type: str = ""  # of the one given, where that is another
    turn: int | None = None  # EXIF's orientation, where the one given has it


def _unwrapped(name: str, data: bytes) -> _File:
    if name == "RAW" or (name == "TIFF" and tiff.is_raw(data)):
        preview, turn = raw.preview(data)
        return _File(name="JPEG", data=preview, mime_type=raw.mime_type(data), turn=turn)
    if name == "ICO":
        picture, is_png = ico.largest(data)
        return _File(name="PNG" if is_png else "ICO", data=picture, mime_type=mime_types.FORMATS["ICO"])
    return _File(name=name, data=data)


def _decoded(file: _File, max_pixels: int, min_side: int | None) -> DecodedImage:
    name, turn = file.name, file.turn
    if size := _told_size(name, file.data):
        check_size(size, max_pixels)
    profile = png.profile(file.data) if name == "PNG" else b""
    data = _cleaned(name, file.data)
    image = _opened(name, data)
    check_size(image.size, max_pixels)
    if isinstance(image, TiffImageFile):
        if not tiff.has_plain_sides(data):
            raise UnsupportedImage.variant("TIFF whose sides are no whole numbers, or told twice,")
        check_pixels(tiff.tile_size(image), max_pixels, "TIFF's tile")
    width, height = image.size
    mime_type = file.mime_type or getattr(image, "custom_mimetype", None) or mime_types.FORMATS[name]
    with _translated(name, data, image.size):
        loaded, shown = _loaded(image, name, data, min_side)
        turn = turn or (1 if name == "TIFF" else _orientation(image))  # Pillow turns a TIFF itself
        if profile:
            loaded.info["icc_profile"] = profile
        picture = _rendered(loaded, None if name == "JPEG" else min_side)
        picture = reduction.bounded(picture) if min_side else picture
    if turn in ON_THEIR_SIDE:
        width, height = height, width
    picture = picture.transpose(TURNS[turn]) if turn in TURNS else picture
    return DecodedImage(picture=picture, width=width, height=height, mime_type=mime_type, shown=shown)


def _told_size(name: str, data: bytes) -> tuple[int, int] | None:
    """Width and height by the file's header, of the formats whose decoders take the memory for it at once."""
    readers = {
        "AVIF": isobmff.size,
        "HEIF": isobmff.size,
        "WEBP": webp.size,
        "BMP": bmp.size,
        "ICO": ico.size,
    }
    return readers[name](data) if name in readers else None


def _cleaned(name: str, data: bytes) -> bytes:
    """The file without parts beside its pixels that may be broken."""
    cleaners: dict[str, Callable[[bytes], bytes]] = {
        "JPEG": jpeg.clean,
        "PNG": png.clean,
        "WEBP": webp.clean,
        "BMP": bmp.clean,
        "AVIF": isobmff.clean,
    }
    return cleaners[name](data) if name in cleaners else data


def _opened(name: str, data: bytes) -> ImageFile:
    openers = {"TIFF": tiff.open_, "HEIF": _open_heif}
    plugins: dict[str, Callable[[BytesIO], ImageFile]] = {
        "JPEG": JpegImageFile,  # not Pillow's factory, which looks for further pictures in the file
        "PNG": PngImageFile,
        "WEBP": WebPImageFile,
        "GIF": GifImageFile,
        "BMP": BmpImageFile,
        "ICO": IcoImageFile,
        "AVIF": AvifImageFile,
    }
    image = openers[name](data) if name in openers else plugins[name](BytesIO(data))
    for note in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(note, None)  # Pillow takes an orientation from there, browsers don't
    if name == "JPEG":
        # All at once: arithmetic coding can't be continued, and a codec that waits for more of the file is
        # given all of it again with each block.
        image.decodermaxblock = len(data)
    return image


def _open_heif(data: bytes) -> ImageFile:
    # Imported when it is needed: a decoder process should start fast and weigh little.
    import pi_heif

    # A HEIC's embedded thumbnails may show something other than the picture, so they aren't even read.
    pi_heif.register_heif_opener(thumbnails=False)
    image: ImageFile = pi_heif.HeifImageFile(BytesIO(data))
    return image


def _loaded(image: ImageFile, name: str, data: bytes, min_side: int | None) -> tuple[Image.Image, float]:
    """The picture in a mode of its own, and the share of its rows that the file has."""

    def drafted(image: ImageFile) -> ImageFile:
        if name == "JPEG" and min_side:
            image.draft(image.mode, (min_side, min_side))
        return image

    drafted(image)
    frame = image.tile[0].extents if name == "GIF" else None
    loaded: Image.Image = image
    shown = 1.0
    try:
        image.load()
    except Exception:
        if name not in rows.FORMATS:
            raise
        data = bmp.completed(data, image) if name == "BMP" else data
        found = rows.load(lambda tail: drafted(_opened(name, data + tail)), name)
        if not found:
            raise
        loaded, shown = found
    if isinstance(image, TiffImageFile) and tiff.is_inverted(image):
        loaded = ImageChops.invert(colours.in_eight_bits(image))
    if name == "PNG" and png.is_deep(data):
        png.lower_transparency(loaded)
    return (_placed(loaded, frame, image.size) if frame else loaded), shown


def _placed(image: Image.Image, frame: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    """A GIF's first picture on its screen, which is transparent around it."""
    if frame == (0, 0, *size):
        return image
    screen = Image.new("RGBA", size)
    inside = image.crop(frame) if image.size == size else image
    screen.paste(inside.convert("RGBA"), frame[:2])
    return screen


def _rendered(image: Image.Image, min_side: int | None) -> Image.Image:
    """RGB, with `min_side` at a whole fraction of the size."""
    reduced = reduction.by_steps(image, min_side) if min_side else colours.drawable(image)
    return colours.on_ground(colours.to_srgb(reduced, image.info))


def _orientation(image: ImageFile) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1  # a camera's broken notes are no reason to refuse its picture


@contextmanager
def _translated(name: str, data: bytes, size: tuple[int, int] | None = None) -> Iterator[None]:
    # Decoders raise almost anything on hostile bytes: OSError, SyntaxError, ValueError, IndexError,
    # struct.error, zlib.error, OverflowError, DecompressionBombError. All of it means the same.
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or isobmff.OUT_OF_MEMORY.search(str(error)):
            raise DecodingOutOfMemory(value=size or webp.size(data)) from error
        if variant := _unsupported(name, data, error):
            raise UnsupportedImage.variant(variant) from error
        text = f"The {name} image is cut off or corrupt"
        raise BrokenImage(
            f"{text} ({type(error).__name__}: {error}). Upload it again.",
            value=size or webp.size(data),
            told=f"{text}. Upload it again.",
        ) from error


def _unsupported(name: str, data: bytes, error: Exception) -> str | None:
    """The variant that no decoder reads, where that is why it failed."""
    try:
        return _variant(name, data, error)
    except Exception:  # of a file that is broken elsewhere, too
        return None


def _variant(name: str, data: bytes, error: Exception) -> str | None:
    if name == "TIFF":
        return tiff.refusal(data, error)
    if name == "BMP":
        return bmp.refusal(data)
    if name == "AVIF":
        if "Conversion from YUV failed" in str(error):
            return "AVIF with colours in a form that its decoder doesn't know"
        return _alpha_of_avif(data)
    return isobmff.refusal(data, error) if name == "HEIF" else None


def _alpha_of_avif(data: bytes) -> str | None:
    if not isobmff.has_alpha(data):
        return None
    try:
        AvifImageFile(BytesIO(isobmff.without_alpha(data)))
    except Exception:
        return None
    return "AVIF with an alpha channel as old encoders write it"
