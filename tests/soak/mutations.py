"""Thousands of damaged images of every format: each is decoded or refused, and costs nothing but itself.

A mutation follows from the seed and its number alone, so that each can be made again:
`mutant(originals(), seed, number)`.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image
from soak.outcome import Outcome

from shared.errors import ImageError
from shared.images.sandbox.pool import DecoderPool
from shared.runtime import malloc
from shared.settings import CHECKOUT, load

SAMPLE = CHECKOUT / "examples" / "images" / "animals" / "cat.jpg"
WARM_UP = 6  # times every file undamaged, since codecs are loaded as they are needed
GROWTH = 24 * 1024  # kB by which this process and the decoders may weigh more at the end than half way
SIDE = 224
HEADER = 400  # bytes in which damage is likelier to mean something


def run(count: int = 10_000, seed: int = 1) -> Outcome:
    """Decodes `count` mutations. It fails where one raises an error that no image should, or memory grows."""
    malloc.give_back_what_is_freed()  # as the functions do
    began, mine, replaced = time.monotonic(), load({}), Counter[str]()
    decoders = DecoderPool(
        processes=2,
        seconds=mine.max_decode_seconds,
        memory=mine.max_decode_memory,
        max_bytes=mine.max_image_bytes,
        max_pixels=mine.max_image_pixels,
        on_replaced=lambda cause: replaced.update([type(cause).__name__]),
    )
    with closing(decoders):
        found, weights = _decode_all(decoders, count, seed)
    unexpected = [name for name in found if name.startswith("!")]
    grown = weights[1] - weights[0]
    print(f"mutations: {dict(found.most_common())}; decoders replaced: {dict(replaced)}")
    print(f"mutations: {weights[0]} kB half way, {weights[1]} kB at the end")
    return Outcome(
        part="mutations",
        operations=count,
        seconds=time.monotonic() - began,
        faults=replaced.total(),
        evidence=(*unexpected, *([f"memory grew by {grown} kB"] if grown > GROWTH else [])),
    )


def _decode_all(decoders: DecoderPool, count: int, seed: int) -> tuple[Counter[str], tuple[int, int]]:
    """How many came out how, and the memory in kB half way and at the end."""
    files = originals()

    def work(number: int) -> str:
        return outcome(decoders, mutant(files, seed, number))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda data: outcome(decoders, data), files * WARM_UP))
        found = Counter(pool.map(work, range(count // 2)))
        before = weight(decoders)  # the first large pictures leave a heap as large as it then stays
        found += Counter(pool.map(work, range(count // 2, count)))
    return found, (before, weight(decoders))


def outcome(decoders: DecoderPool, data: bytes) -> str:
    """`decoded`, the error's name, or the whole of an error that no image should cause."""
    try:
        decoded = decoders.decode(data, min_side=SIDE)
    except ImageError as error:
        return type(error).__name__
    except Exception as error:
        return f"! {error!r}"
    fits = decoded.picture.mode == "RGB" and min(decoded.picture.size) >= min(
        SIDE, decoded.width, decoded.height
    )
    return "decoded" if fits else f"! {decoded}"


def weight(decoders: DecoderPool) -> int:
    """The memory of this process and the decoders in kB, shared pages in equal parts."""
    return sum(_pss(pid) for pid in ("self", *decoders.pids))


def _pss(pid: int | str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def originals() -> list[bytes]:
    """Small files of every format that is read, and of their unusual kinds."""
    pillow_heif.register_heif_opener()
    cat = Image.open(SAMPLE).resize((96, 72))
    clear = cat.convert("RGBA")
    frames = {"save_all": True, "append_images": [clear.rotate(90), clear.rotate(180)]}
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(np.asarray(cat.convert("L")).astype(np.uint16) * 257)
    files: list[tuple[Image.Image, str, dict[str, object]]] = [
        (cat, "JPEG", {"exif": exif}),
        (cat, "JPEG", {"progressive": True}),
        (cat.convert("CMYK"), "JPEG", {}),
        (cat, "PNG", {}),
        (clear, "PNG", frames),
        (cat.convert("P"), "PNG", {"transparency": 0}),
        (deep, "PNG", {}),
        (clear, "GIF", frames),
        (cat, "WEBP", {"exif": exif}),
        (clear, "WEBP", {"lossless": True}),
        (clear, "WEBP", frames),
        *((cat, "TIFF", {"compression": name}) for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        (deep, "TIFF", {}),
        (cat.convert("1"), "TIFF", {"compression": "group4"}),
        (cat, "BMP", {}),
        (cat.convert("P"), "BMP", {}),
        (clear, "ICO", {"sizes": [(64, 48)]}),
        (clear, "ICO", {"sizes": [(64, 48)], "bitmap_format": "bmp"}),
        (cat, "AVIF", {"speed": 9}),
        (clear, "AVIF", frames | {"speed": 9}),
        (cat, "HEIF", {}),
    ]
    return [_saved(*file) for file in files]


def _saved(picture: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def mutant(files: Sequence[bytes], seed: int, number: int) -> bytes:
    """One file with bits flipped, bytes replaced, a part cut out or repeated, or a part of another in it."""
    chance = random.Random(f"{seed} {number}")
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice([1, 1, 2, 4])):
        chance.choice(MUTATIONS)(data, files, chance)
    return bytes(data)


def _flip(data: bytearray, _files: Sequence[bytes], chance: random.Random) -> None:
    for _ in range(chance.choice([1, 2, 8, 40])):
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _replace(data: bytearray, _files: Sequence[bytes], chance: random.Random) -> None:
    place = _place(data, chance)
    length = chance.choice([1, 2, 4])  # sizes and offsets are such numbers
    data[place : place + length] = chance.choice([b"\0", b"\x7f", b"\x80", b"\xff"]) * length


def _cut(data: bytearray, _files: Sequence[bytes], chance: random.Random) -> None:
    del data[max(1, _place(data, chance)) :]


def _drop(data: bytearray, _files: Sequence[bytes], chance: random.Random) -> None:
    place = _place(data, chance)
    del data[max(1, place) : place + chance.randrange(1, 200)]


def _repeat(data: bytearray, _files: Sequence[bytes], chance: random.Random) -> None:
    place = _place(data, chance)
    data[place:place] = data[place : place + chance.randrange(1, 400)]


def _splice(data: bytearray, files: Sequence[bytes], chance: random.Random) -> None:
    other = chance.choice(files)
    start, place = chance.randrange(len(other)), _place(data, chance)
    part = other[start : start + chance.randrange(1, 600)]
    data[place : place + chance.choice([0, len(part)])] = part


MUTATIONS = (_flip, _flip, _replace, _cut, _drop, _repeat, _splice)


def _place(data: bytearray, chance: random.Random) -> int:
    return chance.randrange(min(len(data), chance.choice([40, HEADER, len(data)])))
