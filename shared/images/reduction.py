"""Large pictures made smaller before they leave their decoder."""

from __future__ import annotations

import math

from PIL import Image

from shared.images import colours

SPARE = 2  # a reduced picture keeps so many times the side asked for: resized, it looks the same
LARGEST_STEP = 16
MOST_PIXELS = 25_000_000  # of a reduced picture: the process that asks has it in memory twice
BAND = 64  # rows


def by_steps(image: Image.Image, min_side: int) -> Image.Image:
    """At a whole fraction of the size, band by band: converted as a whole, 100 megapixels take 2 GB."""
    width, height = image.size
    step = min(min(width, height) // (SPARE * min_side), LARGEST_STEP)
    if step < 2:
        return colours.drawable(image)
    if image.mode in ("I", "F"):  # whose range is that of the whole picture
        image = colours.in_eight_bits(image)
    height_of_bands = step * (BAND // step)
    bands = (
        colours.drawable(image.crop((0, top, width, min(top + height_of_bands, height)))).reduce(step)
        for top in range(0, height, height_of_bands)
    )
    picture, top = None, 0
    for band in bands:
        picture = picture or Image.new(band.mode, (-(-width // step), -(-height // step)))
        picture.paste(band, (0, top))
        top += band.height
    assert picture
    return picture


def bounded(picture: Image.Image) -> Image.Image:
    """With at most MOST_PIXELS: a long one is too low to be reduced by whole steps."""
    width, height = picture.size
    scale = math.sqrt(MOST_PIXELS / (width * height))
    if scale >= 1:
        return picture
    return picture.resize((int(width * scale), int(height * scale)), Image.Resampling.HAMMING)
