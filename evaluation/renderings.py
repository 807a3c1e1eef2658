"""How our decoder renders the files of a folder, beside libvips: `python -m evaluation.renderings FOLDER`.

Both renderings are embedded; the cosine between the vectors says how much a search would notice. Needs
pyvips, a development dependency. libvips decodes in this process: for files that you trust.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyvips
from PIL import Image

from shared import embedding, images, settings
from shared.embedding.embedder import Embedder
from shared.errors import ImageError, NeuralSearchError
from shared.images.sandbox.pool import DecoderPool, start

SHOWN = 1000  # files at most in each list


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """One file's fate in our decoder and in libvips."""

    file: Path
    error: NeuralSearchError | None  # ours; None where it was decoded
    theirs: bool  # whether libvips decoded it
    cosine: float | None  # between both renderings' vectors, where there are two


def compare(file: Path, decoders: DecoderPool, embedder: Embedder) -> Rendering:
    data = file.read_bytes()
    theirs = reference(data)
    try:
        ours = decoders.decode(data, min_side=embedder.image_size).picture
    except NeuralSearchError as error:
        return Rendering(file=file, error=error, theirs=theirs is not None, cosine=None)
    if theirs is None:
        return Rendering(file=file, error=None, theirs=False, cosine=None)
    first, second = embedder.embed_images([ours, theirs])
    return Rendering(file=file, error=None, theirs=True, cosine=float(first @ second))


def reference(data: bytes) -> Image.Image | None:
    """libvips's rendering: upright, in sRGB, on the ground that ours would have; None where it has none."""
    try:
        image = pyvips.Image.new_from_buffer(data, "", fail_on="none").autorot()
        if image.get_typeof("icc-profile-data"):
            image = image.icc_transform("srgb", embedded=True)
        image = image.colourspace("srgb").cast("uchar")
        bands = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[min(image.bands, 4)]
        pixels = image[:4].write_to_memory() if image.bands > 4 else image.write_to_memory()
        return images.to_rgb(Image.frombytes(bands, (image.width, image.height), pixels))
    except (pyvips.Error, ValueError):
        return None


def lines(renderings: list[Rendering]) -> Iterator[str]:
    """The report: outcomes by kind, refusals beside libvips's, and the cosines, the worst first."""
    kinds = Counter(type(one.error).__name__ if one.error else "decoded" for one in renderings)
    yield "outcomes: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    refused = [one for one in renderings if one.error and one.theirs]
    yield f"{len(refused)} refused that libvips decodes:"
    yield from (f"  {one.file}: {one.error}" for one in refused[:SHOWN])
    compared = [(one.cosine, one.file) for one in renderings if one.cosine is not None]
    yield f"{len(compared)} compared, the worst first:"
    yield from (f"  {cosine:.4f} {file}" for cosine, file in sorted(compared)[:SHOWN])


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(prog="evaluation.renderings", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path)
    files = sorted(
        file for folder in parser.parse_args().folders for file in folder.rglob("*") if file.is_file()
    )
    mine = settings.load()
    embedder = embedding.load(configuration=mine)
    with closing(start(mine)) as decoders:
        renderings = [compare(file, decoders, embedder) for file in files]
    print(*lines(renderings), sep="\n")
    if unexpected := [one for one in renderings if one.error and not isinstance(one.error, ImageError)]:
        sys.exit(f"error: {len(unexpected)} files failed with no fault of theirs")


if __name__ == "__main__":
    main()
