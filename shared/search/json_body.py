"""Reads JSON whose size beside a few long strings is bounded before anything is built from it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.errors import PayloadTooLarge

MAX_BYTES = 256 * 1024  # of all beside the long strings: 32 texts of 1,000 escaped characters take 192,000
MAX_QUOTES = 64 * 1024  # 32 texts of 1,000 escaped quotes have half as many
LONG = 12_000  # bytes: a text's 1,000 characters, each escaped as two surrogates, are not longer
ESCAPED = 16  # bytes for each backslash: base64 in lines of 64 with escaped slashes has 22
LINE = 1000  # letters: base64 in lines has the first break among them
BEYOND_ASCII = re.compile(r"\\u(?!00[0-7])")


@dataclass(frozen=True)
class Piece:
    """The part of a body between two quotes, with the second."""

    start: int
    end: int
    is_string: bool  # a whole one, without an escaped quote


def load(body: bytes, most_long: int) -> Any:
    """The value in `body`; PayloadTooLarge where it is larger, ValueError or RecursionError for no JSON.

    ASCII strings of more than `LONG` bytes and few escapes are counted instead of measured: only files in
    base64 are so long. Their line breaks are dropped.
    """
    if body.count(b'"') > MAX_QUOTES:
        raise PayloadTooLarge(f"The JSON has more than {MAX_QUOTES} quotes. Send less of it.")
    long = _bounded(body, most_long)
    # A number that no client can guess stands for each of them at first: a single emoji elsewhere would take
    # four bytes for each of theirs, were all decoded together.
    strings = {f"0.{secrets.randbits(64)}": string for _, string in long}

    def number(text: str) -> Any:
        return strings.pop(text) if text in strings else whole_or_float(text)

    skeleton = _without(body, [piece for piece, _ in long], list(strings))
    value = json.loads(skeleton.decode("utf-8-sig"), parse_float=number)
    if strings:
        raise ValueError("a string beside digits")  # which made another number of its own
    return value


def whole_or_float(text: str) -> int | float:
    """JSON Schema's integers have no fractional part, however they are written: 25.0 is one."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _without(body: bytes, long: list[Piece], names: list[str]) -> bytes:
    """`body` with a name in the place of each long string."""
    parts, position = [], 0
    for piece, name in zip(long, names, strict=True):
        parts += [body[position : piece.start - 1], name.encode()]
        position = piece.end
    return b"".join([*parts, body[position:]])


def _bounded(body: bytes, most_long: int) -> list[tuple[Piece, str]]:
    """The long strings."""
    long: list[tuple[Piece, str]] = []
    beside = 0
    for piece in _pieces(body):
        size = piece.end - piece.start
        if size > LONG and piece.is_string and (string := _file(body, piece)) is not None:
            long.append((piece, string))
        else:
            beside += size
        if beside > MAX_BYTES:
            raise PayloadTooLarge(
                f"The JSON has more than {MAX_BYTES} bytes beside its images, which are base64 with at most "
                f"one escape in {ESCAPED} bytes. Send less of it, or the image as a form."
            )
        if len(long) > most_long:
            raise PayloadTooLarge(
                f"The JSON has more than {most_long} strings of over {LONG} bytes. "
                f"At most {most_long} images are taken, and nothing else is so long."
            )
    return long


def _file(body: bytes, piece: Piece) -> str | None:
    """The string, in one line, or None where it can be no file in base64."""
    escapes = body.count(b"\\", piece.start, piece.end)
    if escapes > (piece.end - piece.start) // ESCAPED:
        return None
    try:
        string = str(memoryview(body)[piece.start : piece.end - 1], "ascii")
    except UnicodeDecodeError:
        return None
    if "\\n" in string[:LINE] and "\\\\" not in string and "\\u" not in string:  # a third of JSON's time
        string = string.replace("\\r\\n", "").replace("\\n", "")
    if BEYOND_ASCII.search(string):  # one such letter makes the string four times as long in memory
        return None
    return str(json.loads(f'"{string}"')) if "\\" in string else string


def _pieces(body: bytes) -> Iterator[Piece]:
    position, inside, whole = 0, False, False
    while (quote := body.find(b'"', position)) >= 0:
        escaped = inside and _is_escaped(body, position, quote)
        yield Piece(position, quote + 1, inside and whole and not escaped)
        position, inside, whole = quote + 1, inside == escaped, not escaped
    yield Piece(position, len(body), False)


def _is_escaped(body: bytes, start: int, quote: int) -> bool:
    """Whether an odd number of backslashes stands before the quote."""
    before = body[max(start, quote - LONG) : quote]
    if len(before) == LONG and not before.strip(b"\\"):
        raise PayloadTooLarge(f"The JSON has {LONG} backslashes in a row. Nothing that is taken has so many.")
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1
