"""The project's API: Storage, the SQL functions and the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cli.project import Project, storage_errors
from shared.errors import DatabaseError
from shared.settings import Settings


def checks(target: Settings) -> Iterator[tuple[str, dict[str, Callable[[], str]]]]:
    if not target.supabase_url:
        yield "SUPABASE_URL is not set", {"Storage": str, "publishable key": str, "secret key": str}
        return
    with Project(target) as project:
        either = target.secret_key or target.publishable_key
        yield "" if either else "no key is set", {"Storage": lambda: storage(project)}
        missing = "" if target.publishable_key else "SUPABASE_PUBLISHABLE_KEY is not set"
        yield missing, {"publishable key": lambda: publishable_key(project)}
        missing = "" if target.secret_key else "SUPABASE_SECRET_KEY is not set"
        yield missing, {"secret key": lambda: secret_key(project)}


def storage(project: Project) -> str:
    with storage_errors():
        buckets = project.storage.storage.list_buckets()
    names = ", ".join(bucket.name for bucket in buckets)
    return f"answers; buckets that this key sees: {names or 'none'}"


def publishable_key(project: Project) -> str:
    rows = project.call_as("publishable_key", "active_model")
    if not rows:
        raise DatabaseError("No model is active. Run `neural-search install`.")
    return f"works; the active model is {rows[0]['name']} ({rows[0]['dimensions']} dimensions)"


def secret_key(project: Project) -> str:
    rows = project.call_as("secret_key", "index_status")
    if not rows:
        raise DatabaseError("It works, but no bucket is indexed. Run `neural-search install --bucket NAME`.")
    total = {
        name: sum(row[name] for row in rows)
        for name in ("objects", "documents", "pending", "skipped", "failed")
    }
    hint = " (`neural-search jobs` says why)" if total["skipped"] or total["failed"] else ""
    return f"works; {', '.join(f'{number} {name}' for name, number in total.items())}{hint}"
