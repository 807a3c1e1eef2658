"""The bounds that a file must keep before anything of it is decoded."""

from __future__ import annotations

from shared.errors import EmptyImage, ImageTooLarge, ImageTooLong, TooManyPixels

MAX_SIDE = 65_535  # pixels: all that a JPEG can tell
MAX_RATIO = 200  # of the sides; beyond it a picture is a line


def check_bytes(data: bytes, max_bytes: int) -> None:
    """EmptyImage or ImageTooLarge where it isn't worth looking into `data`."""
    if not data:
        raise EmptyImage()
    check_length(len(data), max_bytes)


def check_length(length: int, max_bytes: int) -> None:
    """ImageTooLarge for a file of more bytes."""
    if length > max_bytes:
        raise ImageTooLarge(
            f"The file has {length} bytes, at most {max_bytes} are accepted. "
            "Upload a smaller one or raise MAX_IMAGE_BYTES.",
            value=length,
        )


def check_pixels(size: tuple[int, int], max_pixels: int, part: str = "image") -> None:
    """TooManyPixels, by the width and height of a part that is decoded as a whole."""
    width, height = size
    if width * height > max_pixels:
        raise TooManyPixels(
            f"The {part} has {width} x {height} pixels, at most {max_pixels} are accepted. "
            "Upload a smaller one or raise MAX_IMAGE_PIXELS.",
            value=[width, height],
        )


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """TooManyPixels or ImageTooLong, by the width and height in pixels that a header tells."""
    check_pixels(size, max_pixels)
    width, height = size
    longer, shorter = max(size), min(size)
    if longer > MAX_SIDE or longer > MAX_RATIO * shorter:
        raise ImageTooLong(
            f"The image has {width} x {height} pixels. A side of at most {MAX_SIDE} is accepted, and at most "
            f"{MAX_RATIO} times the other. Upload a part of it.",
            value=[width, height],
        )
