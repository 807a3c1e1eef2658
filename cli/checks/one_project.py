"""Whether SUPABASE_URL and DATABASE_URL are of one project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from cli.client.project_identity import require_one_project
from cli.installer.connection import connect
from shared.settings import Settings


def checks(target: Settings) -> Iterator[tuple[str, dict[str, Callable[[], str]]]]:
    given = {
        "DATABASE_URL": target.database_url,
        "SUPABASE_URL": target.supabase_url,
        "SUPABASE_SECRET_KEY": target.secret_key,
    }
    missing = next((f"{name} is not set" for name, value in given.items() if not value), "")
    yield missing, {"one project": partial(_check, target)}


def _check(target: Settings) -> str:
    with connect(target.need("database_url")) as database:
        if require_one_project(target, database):
            return "DATABASE_URL is the database of SUPABASE_URL"
    return "nothing is installed in either, so it can't be told yet"
