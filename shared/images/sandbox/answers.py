"""A decoder process's answer: a picture, or the error that says why there is none."""

from __future__ import annotations

import math
import re
from typing import Any

from PIL import Image

from shared.errors import ImageError, kinds
from shared.images import DecodedImage
from shared.images.sandbox.messages import MessageError

ERRORS = {error.__name__: error for error in kinds(ImageError)}
MIME_TYPE = re.compile(r"image/[a-z0-9.+-]{1,40}")
SHOWN = 1000  # characters of a message


def pack(decoded: DecodedImage) -> tuple[dict[str, Any], bytes]:
    """A picture as a message's header and body."""
    header = {
        "size": decoded.picture.size,
        "width": decoded.width,
        "height": decoded.height,
        "mime_type": decoded.mime_type,
        "shown": decoded.shown,
    }
    return header, decoded.picture.tobytes()


def pack_error(error: ImageError) -> tuple[dict[str, Any], bytes]:
    """An error as a message's header and body."""
    message = {"message": str(error)[:SHOWN], "told": error.told, "value": error.value}
    return {"error": type(error).__name__} | message, b""


def unpack(header: dict[str, Any], body: bytearray) -> DecodedImage:
    """The picture, or the error raised; MessageError where the answer's parts don't fit together."""
    try:
        if "error" in header:
            kind, message, told = ERRORS[header["error"]], str(header["message"]), header["told"]
            raise kind(message, value=header["value"], told=None if told is None else str(told)[:SHOWN])
        return _picture(header, body)
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"A decoder's answer makes no sense: {error!r}.") from error


def seconds(header: dict[str, Any]) -> float:
    """CPU seconds that the answer took; MessageError where it doesn't tell."""
    told = header.get("seconds")
    if not isinstance(told, float) or not 0 <= told < math.inf:
        raise MessageError(f"A decoder says that it took {told!r} seconds.")
    return told


def _picture(header: dict[str, Any], body: bytearray) -> DecodedImage:
    width, height = header["size"]
    sides = (width, height, header["width"], header["height"])
    if not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"sides of {sides} pixels")
    if len(body) != width * height * 3 or not MIME_TYPE.fullmatch(header["mime_type"]):
        raise ValueError(f"{len(body)} bytes, {width} x {height} pixels, of type {header['mime_type']!r}")
    if not 0 < header["shown"] <= 1:
        raise ValueError(f"a share of {header['shown']} rows")
    return DecodedImage(
        picture=Image.frombytes("RGB", (width, height), body),
        width=header["width"],
        height=header["height"],
        mime_type=header["mime_type"],
        shown=header["shown"],
    )
