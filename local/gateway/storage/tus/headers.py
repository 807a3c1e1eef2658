"""The protocol's request headers: their forms and their values."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers

from local.gateway.storage.faults import Fault
from local.gateway.storage.tus import faults

Metadata = Mapping[str, str | None]

CONTENT_TYPE = "application/offset+octet-stream"
COUNT = re.compile(r"0|[1-9]\d{0,15}", re.ASCII)
KEY = re.compile(r"[\x00-\x1f\x21-\x2b\x2d-\x7f]+")  # ASCII without space and comma


def check(headers: Headers) -> None:
    """A fault for a header that the protocol allows with no method."""
    if not headers.get("tus-resumable"):
        raise faults.TusFault(412, "Tus-Resumable Required\n")
    wrong = [name for name in headers if name in RULES and not RULES[name](headers[name])]
    if wrong:
        raise faults.TusFault(400, f"Invalid {' '.join(wrong)}\n")


def check_content_type(headers: Headers) -> None:
    """A fault unless the body is declared as a part of an upload."""
    content_type = headers.get("content-type")
    if content_type is None:
        raise faults.content_type_missing()
    if content_type != CONTENT_TYPE:
        # The framework of the real server says this, before the protocol's own code.
        raise Fault(415, "FastifyError", "Unsupported Media Type", http=415)


def count(headers: Headers, name: str) -> int | None:
    """The number in a header that was checked; None where it is missing."""
    value = headers.get(name)
    return None if value is None else int(value)


def parse_metadata(text: str) -> dict[str, str | None]:
    """`Upload-Metadata` as a mapping: keys as they are, values decoded. ValueError where it is malformed."""
    metadata: dict[str, str | None] = {}
    for pair in text.split(","):
        key, *values = pair.split(" ")
        if not KEY.fullmatch(key) or len(values) > 1 or key in metadata:
            raise ValueError(f"{pair!r} is no pair of a key and a value")
        metadata[key] = base64.b64decode(values[0], validate=True).decode() if any(values) else None
    return metadata


def format_metadata(metadata: Metadata) -> str:
    return ",".join(
        key if value is None else f"{key} {base64.b64encode(value.encode()).decode()}"
        for key, value in metadata.items()
    )


def _is_count(value: str) -> bool:
    return bool(COUNT.fullmatch(value))


def _is_metadata(value: str) -> bool:
    try:
        parse_metadata(value)
    except ValueError:
        return False
    return True


RULES: dict[str, Callable[[str], bool]] = {
    "upload-offset": _is_count,
    "upload-length": _is_count,
    "upload-defer-length": lambda value: value == "1",
    "upload-metadata": _is_metadata,
    "tus-resumable": lambda value: value == faults.VERSION,
    "x-forwarded-proto": lambda value: value in ("http", "https"),
    "upload-concat": lambda value: value == "partial" or value.startswith("final;"),
}
