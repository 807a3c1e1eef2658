"""The Accept header: rows in an array, or the only row without one."""

from __future__ import annotations

from local.gateway.rest import faults

ARRAYS = ("*/*", "application/json", "application/vnd.pgrst.array", "application/vnd.pgrst.array+json")
OBJECTS = ("application/vnd.pgrst.object", "application/vnd.pgrst.object+json")


def is_single(accept: str) -> bool:
    """Whether the type that is wanted most, of those that there are, is that of an only row."""
    for wanted in sorted(accept.replace(" ", "").lower().split(","), key=_weight, reverse=True):
        kind, _, parameters = wanted.partition(";")
        if kind in OBJECTS or kind in ARRAYS:
            if ".pgrst." in kind and "nulls=stripped" in parameters:
                raise faults.unsupported("The media type", wanted)
            return kind in OBJECTS
    raise faults.not_acceptable(accept)


def _weight(wanted: str) -> tuple[float, int]:
    """Its quality, and how particular it is."""
    kind, _, rest = wanted.partition(";q=")
    try:
        quality = float(rest.partition(";")[0] or 1)
    except ValueError:
        quality = 1.0
    return quality, kind.count(";") - kind.count("*")
