"""Our decoder beside a browser: the same files, drawn by Chromium on the ground that ours would have."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from shared import images

CASES = Path(__file__).parents[2] / "unit" / "images" / "cases"
SIDE = 32  # pixels to which both pictures are reduced before they are compared
LIMITS = {"max_bytes": 10_000_000, "max_pixels": 10_000_000}
NOT_SHOWN = {"one-pixel-wide.png", "tiff-palette-8bit-colormap.tif", "tiff-rgb16-planar-littleendian.tif"}
# Where the end is missing, Chromium leaves out up to two rows of blocks that we complete.
UNFINISHED = {"jpeg-no-eoi.jpg", "jpeg-last-20-bytes-missing.jpg"}

DRAW = """async encoded => {
  const bytes = Uint8Array.from(atob(encoded), one => one.charCodeAt(0));
  const picture = new Image();
  picture.src = URL.createObjectURL(new Blob([bytes]));
  const shown = await new Promise(done => {
    picture.onload = () => done(true);
    picture.onerror = () => done(false);
  });
  if (!shown || !picture.naturalWidth) return null;
  const canvas = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let at = 0; at < pixels.length; at += 32768) {
    text += String.fromCharCode(...pixels.subarray(at, at + 32768));
  }
  return [canvas.width, canvas.height, btoa(text)];
}"""


@pytest.fixture(scope="module")
def canvas(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page()
    yield page
    page.close()


def drawn(canvas: Page, data: bytes) -> Image.Image | None:
    answer = canvas.evaluate(DRAW, base64.b64encode(data).decode())
    if answer is None:
        return None
    width, height, pixels = answer
    return images.to_rgb(Image.frombytes("RGBA", (width, height), base64.b64decode(pixels)))


def small(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=float)


@pytest.mark.parametrize("name", sorted({path.name for path in CASES.iterdir()} - NOT_SHOWN))
def test_each_case_looks_as_in_chromium(canvas: Page, name: str):
    data = (CASES / name).read_bytes()
    theirs, ours = drawn(canvas, data), images.decode(data, **LIMITS)
    assert theirs is not None and theirs.size == (ours.width, ours.height)
    rows = SIDE - 2 if name in UNFINISHED else SIDE
    difference = np.abs(small(ours.picture) - small(theirs))[:rows]
    assert difference.max() < 12


@pytest.mark.parametrize("name", sorted(NOT_SHOWN - {"one-pixel-wide.png"}))
def test_chromium_shows_no_tiff_so_libvips_is_what_those_are_compared_with(canvas: Page, name: str):
    pyvips = pytest.importorskip("pyvips")
    data = (CASES / name).read_bytes()
    assert drawn(canvas, data) is None
    theirs = pyvips.Image.new_from_buffer(data, "").colourspace("srgb").cast("uchar")
    picture = Image.frombytes("RGB", (theirs.width, theirs.height), theirs[:3].write_to_memory())
    assert np.abs(small(images.decode(data, **LIMITS).picture) - small(picture)).max() < 12
