"""Bodies that a stranger makes to be expensive: each is refused, and should cost little before it is."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

CPU_SECONDS = 0.5  # that a refusal takes at most
READINGS = 5  # or, on a slow machine, so many times as long as reading the longest body takes there
BYTES = 100_000_000  # beside four times the body
MB = 1_000_000
WHOLE = 65 * MB  # about the longest that is taken at all
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
# A boundary that nearly stands at each place of a line of dashes.
DASHES = b"-" * 34 + b"x" + b"-" * 35
DASHED_FORM = {"Content-Type": f"multipart/form-data; boundary={DASHES.decode()}"}
IMAGE = {"Content-Type": "image/png"}


def filled(beginning: bytes, unit: bytes, end: bytes = b"", size: int = WHOLE) -> bytes:
    return beginning + unit * ((size - len(beginning) - len(end)) // len(unit)) + end


def part(name: str, value: bytes, more: bytes = b"") -> bytes:
    return (
        b'--x\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + more + b"\r\n\r\n" + value
    )


READ = "no image"  # which is read to its end, and refused by its first bytes
FILE = part("image", b"", b'; filename="a.png"')
# As many headers, and as long a one, as the parser takes of a part.
LONG = part("like", b"7\r\n").replace(b"\r\n\r\n", b"\r\n" + b"a:b\r\n" * 36_000 + b"\r\n")
WIDE = part("like", b"7\r\n", b'; a="' + b"\\a" * 90_000 + b'"')
BODIES: dict[str, tuple[dict[str, str], Callable[[], bytes]]] = {
    "objects": (JSON, lambda: filled(b'{"text":"red","x":[', b"{},", b"{}]}")),
    "ids": (JSON, lambda: filled(b'{"like":[', b"1,", b"1]}")),
    "a megabyte of ids": (JSON, lambda: filled(b'{"like":[', b"1,", b"1]}", MB)),
    "a quarter of a megabyte of ids": (JSON, lambda: filled(b'{"like":[', b"1,", b"1]}", MB // 4)),
    "examples": (JSON, lambda: filled(b'{"like":[', b'{"id":1,"weight":2},', b"1]}", MB // 4)),
    "unknown fields": (
        JSON,
        lambda: b'{"text":"red"' + b"".join(b',"%d":1' % n for n in range(20_000)) + b"}",
    ),
    "unknown filters": (
        JSON,
        lambda: filled(b'{"text":"red","filter":{"metadata":{}', b',"a":1', b"}}", MB // 4),
    ),
    "metadata": (
        JSON,
        lambda: filled(b'{"text":"red","filter":{"metadata":{"a":[', b'"b",', b"1]}}}", 10 * MB),
    ),
    "less metadata": (
        JSON,
        lambda: filled(b'{"text":"red","filter":{"metadata":{"a":[', b"[],", b"1]}}}", MB // 4),
    ),
    "a long text in metadata": (
        JSON,
        lambda: filled(b'{"text":"red","filter":{"metadata":{"a":"', b"b", b'"}}}'),
    ),
    "kinds": (JSON, lambda: filled(b'{"text":"red","filter":{"mime_type":[', b'"a",', b'"a"]}}', MB // 4)),
    "numbers of many digits": (JSON, lambda: filled(b'{"limit":[', b"1" * 4000 + b",", b"1]}", MB // 4)),
    "a text": (JSON, lambda: filled(b'{"text":"', b"a", b'"}')),
    "a text with another letter": (JSON, lambda: filled('{"like":"é😀","text":"'.encode(), b"a", b'"}')),
    "escapes": (JSON, lambda: filled(b'{"text":"', b"\\n", b'"}')),
    "escaped letters": (JSON, lambda: filled(b'{"text":"', b"\\u0061", b'"}')),
    "escaped quotes": (JSON, lambda: filled(b'{"text":"', b'\\"', b'"}')),
    "backslashes": (JSON, lambda: filled(b'{"text":"', b"\\\\", b'"}')),
    "quotes": (JSON, lambda: filled(b"", b'"')),
    "a text without an end": (JSON, lambda: filled(b'{"text":"', b"a")),
    "spaces": (JSON, lambda: filled(b"", b" ")),
    "no UTF-8": (JSON, lambda: filled(b'{"text":"', b"\xff", b'"}')),
    "emoji": (JSON, lambda: filled(b'{"text":"', "😀".encode(), b'"}')),
    "depth": (JSON, lambda: filled(b'{"text":', b"[")),
    "eight long texts": (JSON, lambda: filled(b'{"text":[', b'"' + b"a" * (WHOLE // 9) + b'",', b'"a"]}')),
    "texts just not long": (JSON, lambda: filled(b'{"text":[', b'"' + b"a" * 11_990 + b'",', b'"a"]}')),
    "base64 of no image": (JSON, lambda: filled(b'{"image":"', b"QUJD", b'"}')),
    "no base64": (JSON, lambda: filled(b'{"image":"', b"!", b'"}')),
    "lines of nothing": (JSON, lambda: filled(b'{"image":"', b"\\r\\n", b'"}')),
    "base64 of short lines": (JSON, lambda: filled(b'{"image":"', b"QUJD\\n", b'!"}')),
    "base64 of short lines as they are": (JSON, lambda: filled(b'{"image":"', b"QUJD\n", b'!"}')),
    "base64 of escaped slashes": (JSON, lambda: filled(b'{"image":"', b"QUJDQUJ\\/", b'!"}')),
    "base64 and an escaped emoji": (JSON, lambda: filled(b'{"image":"', b"QUJD", b'\\ud83d\\ude00"}')),
    "base64 of lines": (JSON, lambda: filled(b'{"image":"', b"QUJD" * 8 + b"\\r\\n", b'!"}')),
    "base64 of some slashes": (JSON, lambda: filled(b'{"image":"', b"QUJD" * 4 + b"QU\\/", b'!"}')),
    "a data URL of parameters": (JSON, lambda: filled(b'{"image":"data:image/png', b";a=b", b';base64,"}')),
    "a form of fields": (FORM, lambda: filled(b"", part("like", b"7\r\n"), b"--x--\r\n")),
    "a field": (FORM, lambda: filled(part("text", b""), b"a", b"\r\n--x--\r\n")),
    "a form of headers": (FORM, lambda: filled(b"--x\r\n", b"a: b\r\n", b"\r\n\r\n--x--\r\n")),
    "a header": (
        FORM,
        lambda: filled(b"--x\r\nContent-Disposition: form-data", b"; a=b", b"\r\n\r\n--x--\r\n"),
    ),
    "a form of headers' values": (FORM, lambda: WIDE * 100 + b"--x--\r\n"),
    "a form of headers in each part": (FORM, lambda: LONG * 100 + b"--x--\r\n"),
    "a file of nearly its end": (FORM, lambda: filled(FILE, b"\r\n--xy", b"\r\n--x--\r\n")),
    "a boundary and spaces": (FORM, lambda: filled(b"a--x", b" ")),
    "a file of nearly its end and spaces": (
        FORM,
        lambda: filled(FILE, b"\r\n--x" + b" " * 60_000, b"\r\n--x--\r\n"),
    ),
    "a file of line breaks": (FORM, lambda: filled(FILE, b"\r\n", b"\r\n--x--\r\n")),
    "a file of boundaries": (FORM, lambda: filled(FILE, b"\r\n--", b"\r\n--x--\r\n")),
    "a file of dashes": (FORM, lambda: filled(FILE, b"-", b"\r\n--x--\r\n")),
    "a file of dashes, and a boundary": (
        DASHED_FORM,
        lambda: filled(FILE.replace(b"--x", b"--" + DASHES), b"-", b"\r\n--" + DASHES + b"--\r\n"),
    ),
    "a file of dashes and boundaries inside its lines": (
        FORM,
        lambda: filled(FILE, b"-" * (WHOLE // 99) + b"--x", b"\r\n--x--\r\n"),
    ),
    "a file of returns": (FORM, lambda: filled(FILE, b"\r", b"\r\n--x--\r\n")),
    "a form without an end": (FORM, lambda: filled(FILE, b"a")),
    "before the form": (FORM, lambda: filled(b"", b"\r\n-x")),
    "files of another field": (
        FORM,
        lambda: filled(part("picture", b"", b'; filename="a"'), b"a", b"\r\n--x--\r\n"),
    ),
    READ: (IMAGE, lambda: filled(b"", b"a")),
    "more than is taken": (IMAGE, lambda: filled(b"", b"a", size=100 * MB)),
}


def most_cpu_seconds(readings: Sequence[float]) -> float:
    """The bound on this machine, where the CPU took so many seconds for READ's body, several times."""
    return max(CPU_SECONDS, READINGS * statistics.median(readings))
