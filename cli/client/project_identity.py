"""Whether SUPABASE_URL and DATABASE_URL are of one project."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cli.client.project import Project
from shared.errors import DatabaseOutdated, DatabaseUnavailable, SettingsError
from shared.settings import Settings

if TYPE_CHECKING:
    from psycopg import Connection

# When a process last asked for each model's work, by the model and the moment of its registration: no two
# installations have that moment in common. Of a database and its copy one is asked later than the other.
Requests = dict[tuple[str, datetime], datetime]

WITHOUT_ANSWER = (
    " If both are, but the API can't list the models because of another fault, run this without "
    "SUPABASE_SECRET_KEY."
)


def require_one_project(target: Settings, database: Connection[Any]) -> bool:
    """SettingsError where the API of SUPABASE_URL shows another installation than `database` has.

    False where nothing can be told: before anything of ours is in either of them, or without the secret key.
    DatabaseUnavailable where the API doesn't answer, or not in time, as where it counts millions of objects.
    """
    if not (target.supabase_url and target.secret_key):
        return False
    with Project(target) as project:
        before, seen, after = _stored(database), _shown(project), _stored(database)
    common = before.keys() & seen.keys() & after.keys()
    if common and all(before[model] <= seen[model] <= after[model] for model in common):
        return True
    if before or seen or after:
        raise SettingsError(
            f"DATABASE_URL is the database of another project than SUPABASE_URL ({target.supabase_url}), or "
            "its API hasn't noticed an installation of the last minute. Set both of the same project."
            + (WITHOUT_ANSWER if before and not seen else "")
        )
    return False


def _stored(database: Connection[Any]) -> Requests:
    if database.execute("select to_regclass('neural_search.models')").fetchone() == (None,):
        return {}
    rows = database.execute(
        "select name, created_at, coalesce(asked_at, created_at) from neural_search.models"
    )
    # In a zone with summer time, a moment of the hour that comes twice equals none of another zone.
    return {(name, created.astimezone(UTC)): asked for name, created, asked in rows}


def _shown(project: Project) -> Requests:
    try:
        rows = project.call_as("secret_key", "list_models")
    except DatabaseOutdated:
        return {}
    except DatabaseUnavailable as error:
        raise DatabaseUnavailable(
            f"{error} So whether DATABASE_URL is of the same project can't be told: where it is, run this "
            "without SUPABASE_SECRET_KEY."
        ) from error
    moments = (
        (row["name"], *map(datetime.fromisoformat, (row["created_at"], row["asked_at"] or row["created_at"])))
        for row in rows
    )
    return {(name, created): asked for name, created, asked in moments}
