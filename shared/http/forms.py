"""A form (multipart/form-data, RFC 7578) in memory.

Parsers of streams search and copy each piece of a file several times. Here the body is whole: its delimiters
are found in one pass, and a file is copied once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from werkzeug.http import parse_options_header

from shared.errors import InvalidQuery, PayloadTooLarge

Form = tuple[Mapping[str, Sequence[str]], list[bytes]]  # fields, and the files in the field `image`
Part = tuple[bytes, memoryview]  # headers and value

MAX_TEXT = 256 * 1024  # bytes of all fields
MAX_PARTS = 100  # 32 texts and examples, every other field, and a few more for a good answer
MAX_PART_HEAD, MAX_HEADS = 8 * 1024, 32 * 1024  # bytes of a part's headers, and of all parts'
MAX_BOUNDARY = 70  # characters: RFC 2046, 5.1.1
CHARSETS = ("ascii", "us-ascii", "utf-8", "iso-8859-1")  # of fields; others are read as UTF-8

# The last delimiter's dashes, or another's line to its end. RFC 7578 wants \r\n; not all clients send it.
BEHIND = re.compile(rb"(--)|[^\S\r\n]{0,%d}(?:\r\n|\n|\r)" % MAX_PART_HEAD)
PADDING = re.compile(rb"[^\S\r\n]{%d}" % MAX_PART_HEAD)
BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
CONTINUATION = re.compile(rb"(?:\r\n|\n|\r)[ \t]")
TOO_LONG_HEAD = f"A part of the form has more than {MAX_PART_HEAD} bytes of headers."


def parse(body: bytes, boundary: str) -> Form:
    """The form; InvalidQuery where it is none, PayloadTooLarge where it passes a bound."""
    fields: dict[str, list[str]] = {}
    images, room, room_for_heads = [], MAX_TEXT, MAX_HEADS
    for head, value in _parts(body, boundary):
        room_for_heads -= len(head)
        if room_for_heads < 0:  # a parameter of five bytes costs 4 us
            raise PayloadTooLarge(f"The form's parts have more than {MAX_HEADS} bytes of headers. Send less.")
        name, is_file, charset = _described(head)
        if is_file:
            images.append(_image(name, value))
            continue
        room -= len(value)
        if room < 0:
            raise PayloadTooLarge(f"The form has more than {MAX_TEXT} bytes beside its files. Send less.")
        fields.setdefault(name, []).append(str(value, charset, "replace"))
    return fields, images


def _image(name: str, value: memoryview) -> bytes:
    if name != "image":
        raise InvalidQuery("Files are taken in the field `image` alone.", value=name)
    return bytes(value)


def _parts(body: bytes, boundary: str) -> Iterator[Part]:
    if not boundary.isascii() or not 0 < len(boundary) <= MAX_BOUNDARY:
        raise InvalidQuery(f"The form's boundary is {boundary!r:.100}. Expected 1 to {MAX_BOUNDARY} letters.")
    begin = None
    for before, behind, is_last in _delimiters(body, f"--{boundary}".encode()):
        if begin is not None:
            yield _part(body, begin, before)
        if is_last:
            return
        begin = behind
    if begin is not None:
        _head_end(body, begin, len(body))
    raise _no_form()


def _delimiters(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int, bool]]:
    """Where each begins, with its line break, where its line ends, and whether it is the last."""
    for at in _places(body, delimiter):
        before = _line_break_before(body, at)
        behind = BEHIND.match(body, at + len(delimiter))
        if before is not None and behind:
            yield before, behind.end(), bool(behind[1])
        elif before is not None and PADDING.match(body, at + len(delimiter)):
            raise PayloadTooLarge(TOO_LONG_HEAD)


def _places(body: bytes, delimiter: bytes) -> list[int]:
    """All places of it, in files too; counted before anything is made of them."""
    places: list[int] = []
    at = body.find(delimiter)
    while at >= 0:
        places.append(at)
        if len(places) > MAX_PARTS + 1:
            raise PayloadTooLarge(f"The form has more than {MAX_PARTS} parts. Send less.")
        at = body.find(delimiter, at + len(delimiter))
    return places


def _line_break_before(body: bytes, at: int) -> int | None:
    """Where the line break before this place begins."""
    if at == 0:
        return 0
    if body[max(at - 2, 0) : at] == b"\r\n":
        return at - 2
    return at - 1 if body[at - 1] in b"\r\n" else None


def _part(body: bytes, begin: int, end: int) -> Part:
    head_end, value = _head_end(body, begin, end)
    return body[begin:head_end], memoryview(body)[value : max(value, end)]


def _head_end(body: bytes, begin: int, end: int) -> tuple[int, int]:
    """Where a part's headers end, and its value begins."""
    blank = BLANK_LINE.search(body, begin, min(begin + MAX_PART_HEAD, end + 2))
    if blank:
        return blank.span()
    if end - begin >= MAX_PART_HEAD:
        raise PayloadTooLarge(TOO_LONG_HEAD)
    raise _no_form()


def _described(head: bytes) -> tuple[str, bool, str]:
    """A part's name, whether it is a file, and its charset."""
    headers = _headers(head)
    options = parse_options_header(headers.get("content-disposition"))[1]
    charset = parse_options_header(headers.get("content-type"))[1].get("charset", "").lower()
    if "name" not in options:
        raise _no_form()
    return options["name"], "filename" in options, charset if charset in CHARSETS else "utf-8"


def _headers(head: bytes) -> dict[str, str]:
    try:
        lines = [line.decode() for line in CONTINUATION.sub(b" ", head).splitlines()]
    except UnicodeDecodeError as error:
        raise _no_form() from error
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _no_form() -> InvalidQuery:
    return InvalidQuery("The body is no form. Expected multipart/form-data with its boundary.")
