"""The models of this machine and of the project in one table."""

from __future__ import annotations

from typing import Any

from cli.console import output
from shared.errors import NeuralSearchError
from shared.settings import Settings

MEBIBYTE = 1024 * 1024
COLUMNS = (
    "model",
    "state",
    "dimensions",
    "text",
    "licence",
    "MiB",
    "images/s",
    "documents",
    "still to do",
)
# Of `list_models`, as they are; empty for models that aren't added.
REGISTERED = (
    "documents",
    "objects",
    "searchable",
    "pending",
    "given_up",
    "search_strategy",
    "index_valid",
    "index_bytes",
)

Row = dict[str, Any]


def rows(target: Settings, registered: dict[str, Row], with_speed: bool) -> list[Row]:
    """The output of `models list --json`: the models known here, then those that only the project has."""
    from shared.embedding import catalogue

    known = {one.name: one for one in catalogue.known(target)}
    for name in registered:
        known.setdefault(name, catalogue.look_up(name, target.embedding_cache))
    return [
        {
            "name": name,
            "state": registered.get(name, {}).get("state"),
            "dimensions": registered.get(name, {}).get("dimensions")
            or (one.record and one.record.dimensions),
            "text": None if one.record is None else one.record.text is not None,
            "licence": one.licence,
            "bytes": one.size,
            "images_per_second": _speed(target, name) if with_speed and one.record else None,
            **{field: registered.get(name, {}).get(field) for field in REGISTERED},
        }
        for name, one in known.items()
    ]


def show(found: list[Row]) -> None:
    """The table on stdout."""
    output.print_table(COLUMNS, [_cells(row) for row in found])


def show_suggestions() -> None:
    """A table for each purpose, as in docs/models.md."""
    from shared.embedding import suggestions

    for purpose in suggestions.Purpose:
        output.say(f"\n{purpose}:")
        output.print_table(suggestions.COLUMNS, [one.row for one in suggestions.of(purpose)])


def _speed(target: Settings, name: str) -> float | None:
    from cli.models import embedding_speed
    from shared import embedding

    try:
        return round(embedding_speed.measure(embedding.load(name, configuration=target)), 1)
    except NeuralSearchError as error:
        output.warn(f"{name} can't be measured: {error}")
        return None


def _cells(row: Row) -> tuple[Any, ...]:
    return (
        row["name"],
        row["state"] or "not added",
        row["dimensions"],
        {None: "", True: "yes", False: "no"}[row["text"]],
        row["licence"] or "unknown",
        "" if row["bytes"] is None else f"{row['bytes'] / MEBIBYTE:.0f}",
        row["images_per_second"],
        row["documents"],
        row["pending"],
    )
