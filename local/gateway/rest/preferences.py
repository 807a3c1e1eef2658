"""The Prefer header: https://docs.postgrest.org/en/stable/references/api/preferences.html"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from local.gateway.database import Connection
from local.gateway.rest import faults

VALUES = {
    "resolution": ("merge-duplicates", "ignore-duplicates"),
    "missing": ("default", "null"),
    "return": ("representation", "minimal", "headers-only"),
    "count": ("exact", "planned", "estimated"),
    "tx": ("commit", "rollback"),  # without effect, as on hosted projects
    "handling": ("strict", "lenient"),
}
NUMBER = re.compile(r"-?[0-9]{1,18}")
ZONE = "select exists (select from pg_timezone_names where name = %s) as known"


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """The preferences that are known; of one that is told twice the first."""

    resolution: str | None = None
    missing: str | None = None
    returning: str | None = None
    count: str | None = None
    handling: str | None = None
    timezone: str | None = None
    max_affected: int | None = None  # counts with handling=strict alone

    @property
    def counts_rows(self) -> bool:
        """Whether rows are counted; a planned count is the planner's guess alone."""
        return self.count in ("exact", "estimated")

    @property
    def returns_rows(self) -> bool:
        """Whether a write answers with the rows that it changed."""
        return self.returning == "representation"

    @property
    def settings(self) -> dict[str, str]:
        return {"timezone": self.timezone} if self.timezone else {}

    def applied(self, counting: Collection[str]) -> dict[str, str]:
        """The header that names those followed: of any request, and of the others the `counting`."""
        told = {
            "resolution": self.resolution if "resolution" in counting else None,
            "missing": self.missing if "missing" in counting else None,
            "return": self.returning if "return" in counting else None,
            "count": self.count,
            "handling": self.handling,
            "timezone": self.timezone,
            "max-affected": self.max_affected if "max-affected" in counting else None,
        }
        followed = [f"{name}={value}" for name, value in told.items() if value is not None]
        return {"preference-applied": ", ".join(followed)} if followed else {}


async def read(connection: Connection, headers: Sequence[str]) -> Preferences:
    """The wishes of these headers; a fault where all are to be known (handling=strict) and one isn't."""
    told: dict[str, str] = {}
    unknown: list[str] = []
    parts = [part.strip() for part in ",".join(headers).split(",")]
    zone = next((part.partition("=")[2] for part in parts if part.startswith("timezone=")), "")
    zones = (zone,) if zone and await _is_zone(connection, zone) else ()
    for part in parts:
        name, _, value = part.partition("=")
        if value in VALUES.get(name, zones if name == "timezone" else ()) or _is_bound(name, value):
            told.setdefault(name, value)
        else:
            unknown.append(part)
    strict = told.get("handling") == "strict"
    if strict and unknown:
        raise faults.invalid_preferences(unknown)
    return Preferences(
        resolution=told.get("resolution"),
        missing=told.get("missing"),
        returning=told.get("return"),
        count=told.get("count"),
        handling=told.get("handling"),
        timezone=told.get("timezone"),
        max_affected=int(told["max-affected"]) if strict and "max-affected" in told else None,
    )


def _is_bound(name: str, value: str) -> bool:
    return name == "max-affected" and NUMBER.fullmatch(value) is not None


async def _is_zone(connection: Connection, name: str) -> bool:
    cursor = await connection.execute(ZONE, [name])
    row = await cursor.fetchone()
    return bool(row and row["known"])
