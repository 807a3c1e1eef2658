"""JSON as PostgREST reads it: UTF-8 without a mark, without NaN and halves of surrogate pairs."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def parse(text: bytes) -> Any:
    """What the text stands for; ValueError where it is no such JSON."""
    try:
        found = json.loads(text.decode(), parse_constant=_refuse, object_pairs_hook=_object)
        json.dumps(found, ensure_ascii=False).encode()  # half a pair can't be encoded
    except RecursionError as error:
        raise ValueError("The JSON is too deep") from error
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of equal keys the first counts."""
    return dict(reversed(pairs))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
