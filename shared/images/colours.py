"""Any picture's colours as sRGB in eight bits: depth, profile, gamma, ground."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BAND_PIXELS = 1_000_000
MAX_PROFILE = 4 * 1024 * 1024  # bytes, unpacked; print profiles have up to 3 MB
PROFILE_SPACES = {"RGB": "RGB", "RGBA": "RGB", "L": "GRAY", "LA": "GRAY", "CMYK": "CMYK"}
SRGB_GAMMA = 0.45455
# A ground is chosen by the darkest of a pixel's channels: from here on it can hardly be told from white.
NEARLY_WHITE = 224
LEAST_VISIBLE = 0.02  # of the drawing
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB of any mode, by its profile, deep greys scaled to eight bits, transparency on a ground."""
    return on_ground(to_srgb(drawable(image), image.info))


def drawable(image: Image.Image) -> Image.Image:
    """The picture in L, LA, RGB, RGBA or CMYK: modes that can be reduced and converted by a profile."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return in_eight_bits(image)
    if image.has_transparency_data and image.mode not in ("LA", "RGBA"):
        return image.convert("RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") else "RGB")


def to_srgb(image: Image.Image, info: dict[Any, Any]) -> Image.Image:
    """RGB or RGBA, converted by the profile or the gamma in `info`, as far as that makes sense."""
    mode = "RGBA" if image.mode in ("LA", "RGBA") else "RGB"
    plain = image if image.mode == mode else image.convert(mode)  # which would copy it, up to 300 MB
    profile = info.get("icc_profile")
    if profile and len(profile) <= MAX_PROFILE:
        converted = _by_profile(image, plain, profile)
        return plain if converted is None else converted
    gamma = info.get("gamma")
    if gamma and "srgb" not in info and image.mode != "CMYK":
        return _by_gamma(plain, gamma)
    return plain


def _by_profile(image: Image.Image, plain: Image.Image, profile: bytes) -> Image.Image | None:
    """None where the profile is broken, or for another kind of picture."""
    from PIL import ImageCms  # for these alone

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != PROFILE_SPACES.get(image.mode):
            return None
        colours = image.convert(image.mode.removesuffix("A")) if image.mode in ("RGBA", "LA") else image
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), colours.mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
        converted = ImageCms.applyTransform(colours, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None
    if converted is not None and plain.mode == "RGBA":
        converted.putalpha(plain.getchannel("A"))
    return converted


def _by_gamma(image: Image.Image, gamma: float) -> Image.Image:
    """As browsers show a PNG whose gAMA chunk names another gamma than the usual one."""
    exponent = SRGB_GAMMA / gamma
    if not 0.05 < exponent < 20 or abs(exponent - 1) < 0.05:
        return image
    curve = [round(255 * (value / 255) ** exponent) for value in range(256)]
    alpha = [*range(256)] if image.mode == "RGBA" else []
    return image.point(curve * 3 + alpha)


def on_ground(image: Image.Image) -> Image.Image:
    """RGB: transparency is white, or black where the whole drawing would vanish on white."""
    if image.mode != "RGBA":
        return image
    colour = WHITE if _is_visible_on_white(image) else BLACK
    ground = Image.new("RGBA", image.size, (*colour, 255))
    return Image.alpha_composite(ground, image).convert("RGB")


def _is_visible_on_white(image: Image.Image) -> bool:
    red, green, blue, alpha = image.split()
    darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
    coloured = darkest.point([255 if value < NEARLY_WHITE else 0 for value in range(256)])
    drawn, visible = _weight(alpha), _weight(ImageChops.multiply(alpha, coloured))
    is_opaque = drawn == 255 * image.width * image.height
    return is_opaque or visible >= LEAST_VISIBLE * drawn


def _weight(channel: Image.Image) -> int:
    return sum(value * count for value, count in enumerate(channel.histogram()))


def in_eight_bits(image: Image.Image) -> Image.Image:
    """L or LA of a deep grey picture: 16 bits scaled, others by their range. Other pictures as they are."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    import numpy as np  # for these rare ones alone

    values = np.asarray(image)
    grey = Image.fromarray(_to_eight_bits(values))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


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
    """The values of black and of white."""
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
